"""The contracts of search: index settings, indexes, requests and results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np

from segue.index.checks import check_allow, check_exclude, check_k, check_vectors
from segue.kernels import threads
from segue.kernels.arrays import readonly
from segue.progress import Progress, silent
from segue.types import CSR

QUERIES_PER_TASK = 64  # queries that a thread takes at a time
PART = 16_384  # queries between two progress reports

Queries: TypeAlias = np.ndarray | CSR
"""Queries as rows: (q, dim) float32, or a CSR matrix for an index over a sparse representation."""


class Neighbors(NamedTuple):
    """The best items of each query: score descending, then id ascending.

    Attributes:
        ids: (q, k) int32, -1 where fewer than k items are eligible.
        scores: (q, k) float32, higher is nearer; -inf where the id is -1.
        examined: (q,) int64, number of vectors scored for each query.
    """

    ids: np.ndarray
    scores: np.ndarray
    examined: np.ndarray


class Index(Protocol):
    """A built index: what the recommender, the server and the benchmarks rely on."""

    @property
    def settings(self) -> IndexSettings:
        """The settings that the index was built with."""

    def __len__(self) -> int:
        """Return the number of items."""

    def search(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: CSR | None = None,
        allow: np.ndarray | None = None,
        effort: int | None = None,
        progress: Progress = silent,
    ) -> Neighbors:
        """Return the k nearest items for each query.

        Args:
            queries: (q, dim) float32, one query per row; CSR for an index over a sparse representation.
            k: number of items per query.
            exclude: CSR (q, items), the items that each query must not get.
            allow: bool bitmap of the items that may be returned: (items,) for all queries, or (q, items).
            effort: how thoroughly to search, in the unit of `efforts`; None takes the default of the index.
            progress: called with the number of queries answered, if there are many.

        Returns:
            min(k, eligible) items for each query; the rest of the row is id -1 and score -inf.

        Raises:
            DataError: the queries, `exclude` or `allow` do not fit the index.
            SettingError: `k` or `effort` is not a positive integer.
        """

    def efforts(self, k: int) -> list[int]:
        """Return values of `effort` for k items, from fast to accurate; empty if the index has no dial."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model folder stores."""


class IndexSettings(Protocol):
    """Settings of an index: a frozen dataclass that builds it or restores it."""

    METRICS: ClassVar[tuple[str, ...]]

    def __init__(self, *, metric: str = "dot") -> None:
        """Take the default of every setting but the metric."""

    @property
    def metric(self) -> str:
        """The name of the metric, one of `METRICS`."""

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> Index:
        """Build an index over vectors.

        Args:
            vectors: (items, dim) float32, finite, at least one.
            queries: (q, dim) float32, a sample of the queries to expect, which the index may tune itself on.
            progress: called with the number of vectors indexed.

        Raises:
            DataError: the vectors or the queries are unusable.
        """

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Index:
        """Restore an index from its `arrays`; raise `DataError` if they are incomplete or inconsistent."""


class SearchRequest(NamedTuple):
    """The validated arguments of a search.

    Attributes:
        queries: (q, dim) float32.
        k: the requested number of items.
        width: min(k, items).
        effort: the requested effort, or None.
        allow: (0, 0), (1, items) or (q, items) bool.
        indptr, excluded: the excluded items as CSR: row q is `excluded[indptr[q]:indptr[q + 1]]`, sorted.
    """

    queries: np.ndarray
    k: int
    width: int
    effort: int | None
    allow: np.ndarray
    indptr: np.ndarray
    excluded: np.ndarray

    @property
    def filters(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the arguments `allow, indptr, excluded` of the kernels, as read-only arrays."""
        return readonly(self.allow), readonly(self.indptr), readonly(self.excluded)


class SearchPlan(NamedTuple):
    """The kernel that answers a request.

    Attributes:
        kernel: called as `kernel(*arguments, start, stop, ids, scores, examined)` for the queries
            start..stop-1; ids and scores are flat (q × width,).
        arguments: the first arguments of the kernel.
        batch: number of queries that one thread takes at a time.
    """

    kernel: Callable[..., None]
    arguments: tuple[object, ...]
    batch: int = QUERIES_PER_TASK


class VectorIndex(ABC):
    """Base class of indexes over dense vectors: validates a search once and runs it on several threads.

    A subclass implements `plan`, which chooses the kernel and its arguments for a validated request.
    """

    settings: IndexSettings
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Return the number of dimensions of a query."""
        return int(self.vectors.shape[1])

    @abstractmethod
    def plan(self, request: SearchRequest) -> SearchPlan:
        """Return the kernel and the arguments that answer a validated request."""

    @abstractmethod
    def efforts(self, k: int) -> list[int]:
        """Return values of `effort` for k items, from fast to accurate; empty if the index has no dial."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model folder stores."""

    def search(
        self,
        queries: Queries,
        k: int,
        *,
        exclude: CSR | None = None,
        allow: np.ndarray | None = None,
        effort: int | None = None,
        progress: Progress = silent,
    ) -> Neighbors:
        """Return the k nearest items for each query (q, dim) float32; see `Index.search`."""
        vectors = check_vectors(queries, "queries", self.dim)
        k, count, items = check_k(k), len(vectors), len(self.vectors)
        indptr, excluded = check_exclude(exclude, count, items)
        allowed = check_allow(allow, count, items)
        if effort is not None:
            effort = check_k(effort, "effort")
        request = SearchRequest(vectors, k, min(k, items), effort, allowed, indptr, excluded)
        return _run(request, self.plan(request), progress)


def _run(request: SearchRequest, plan: SearchPlan, progress: Progress) -> Neighbors:
    """Answer a request with the kernel of a plan, on several threads."""
    count, width = len(request.queries), request.width
    ids, scores = np.empty((count, width), np.int32), np.empty((count, width), np.float32)
    examined = np.empty(count, np.int64)
    kernel, arguments, batch = plan
    results = ids.reshape(-1), scores.reshape(-1), examined
    for first in range(0, count, PART):
        last = min(first + PART, count)
        if count > PART:
            progress("searching", first, count)
        chunk = min(batch, -(-(last - first) // threads.available())) if last - first > 1 else 1

        def work(start: int, stop: int, first: int = first) -> None:
            kernel(*arguments, first + start, first + stop, *results)

        threads.run(work, last - first, chunk=chunk)
    if count > PART:
        progress("searching", count, count)
    if width < request.k:
        ids, scores = _pad(ids, request.k, -1), _pad(scores, request.k, -np.inf)
    return Neighbors(ids, scores, examined)


def _pad(rows: np.ndarray, k: int, filler: float) -> np.ndarray:
    """Return rows (q, width) widened to (q, k)."""
    padded = np.full((len(rows), k), filler, rows.dtype)
    padded[:, : rows.shape[1]] = rows
    return padded
