"""LSH: vectors in buckets by their side of random planes, the baseline of approximate search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from segue.index.allow_list import plan_members
from segue.index.arrays import take_vectors
from segue.index.base import SearchPlan, SearchRequest, VectorIndex
from segue.index.checks import check_integers, check_items, check_metric, check_recall, check_sample
from segue.index.effort import geometric, least_effort
from segue.index.lsh_arrays import MAX_BITS, LSHArrays, build_buckets, restore_buckets
from segue.index.metric import METRICS
from segue.kernels import lsh
from segue.kernels.arrays import readonly
from segue.progress import Progress, silent

SAMPLED_QUERIES = 200  # queries that the probes are chosen by
BATCH = 64  # queries that a thread takes at a time


@dataclass(frozen=True)
class LSH:
    """Signed random projections (Charikar 2002) in several tables, probed by cost (Lv et al. 2007).

    For an inner product, vectors are divided into ranges of similar length, and one extra coordinate gives
    the vectors of a range equal length (Yan et al. 2018). For a distance, the planes go through the mean.

    Attributes:
        tables: number of hash tables.
        bits: length of a code, up to 20; None: so many that about 16 vectors share a code.
        probes: number of buckets of each table and range that a search visits by default; None: as few as
            reach `recall` on a sample of queries.
        metric: "dot" (inner product), "cosine", or "euclidean", whose scores are negative distances.
        recall: the share of the true 10 nearest to reach if `probes` is None.
        seed: random seed of the planes.
    """

    METRICS: ClassVar[tuple[str, ...]] = tuple(METRICS)

    tables: int = 8
    bits: int | None = None
    probes: int | None = None
    metric: str = "dot"
    recall: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        check_metric(self, self.METRICS)
        check_integers(self, {"tables": (1, None)})
        check_integers(self, {"bits": (1, MAX_BITS), "probes": (1, None)}, optional=True)
        check_recall(self)

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> LSHIndex:
        """Hash vectors into buckets.

        Args:
            vectors: (n, dim) float32, finite.
            queries: a sample of queries (q, dim) to choose the probes by; None takes some of the vectors and
                excludes each from its own results.
            progress: called with the number of vectors indexed.

        Raises:
            DataError: the vectors or the queries are unusable.
        """
        items = check_items(vectors)
        progress("indexing", 0, len(items))
        items = METRICS[self.metric].transform(items)
        sample = check_sample(queries, items.shape[1])
        buckets = build_buckets(items, self.metric, self.tables, self.bits, self.seed)
        index = LSHIndex(self, items, buckets)
        count = buckets.per_range
        probes = min(self.probes or count, count)
        if self.probes is None:
            probes = least_effort(index, sample, count, self.recall, SAMPLED_QUERIES)
        progress("indexing", len(items), len(items))
        return replace(index, buckets=replace(buckets, probes=np.array([probes])))

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> LSHIndex:
        """Restore an index from its `arrays`; raise `DataError` if they do not fit together."""
        vectors = take_vectors(arrays)
        return LSHIndex(self, vectors, restore_buckets(arrays, vectors.shape, self.metric))


@dataclass(frozen=True, eq=False)
class LSHIndex(VectorIndex):
    """Vectors (n, dim) float32, transformed for the metric, and their buckets."""

    settings: LSH
    vectors: np.ndarray
    buckets: LSHArrays

    @property
    def probes(self) -> int:
        """Return the number of buckets of each table and range that a search visits by default."""
        return int(self.buckets.probes[0])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model folder stores."""
        return {"vectors": self.vectors, **vars(self.buckets)}

    def efforts(self, k: int) -> list[int]:
        """Return numbers of buckets from one to all, each about 1.2 times the previous one."""
        return geometric(1, self.buckets.per_range)

    def plan(self, request: SearchRequest) -> SearchPlan:
        """Visit `effort` buckets of each table and range, or score the members of a short allow list.

        Visiting all buckets is exact. A query that finds fewer than k items is compared with all vectors.
        """
        metric = METRICS[self.settings.metric]
        queries = readonly(metric.transform(request.queries))
        members = plan_members(request, self.vectors, queries, metric, BATCH)
        if members is not None:
            return members
        probes = min(request.effort or self.probes, self.buckets.per_range)
        arguments = (*self._arguments, metric.is_distance, probes, queries, *request.filters)
        return SearchPlan(lsh.search, arguments, BATCH)

    @cached_property
    def _arguments(self) -> tuple[np.ndarray, ...]:
        """The arguments of the kernel that do not depend on the request."""
        buckets = self.buckets
        arrays = (
            self.vectors, buckets.planes, buckets.starts, buckets.items, buckets.max_lengths, buckets.center,
        )  # fmt: skip
        return tuple(map(readonly, arrays))
