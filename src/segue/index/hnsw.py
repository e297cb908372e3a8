"""HNSW: approximate search in layered graphs of neighbors (Malkov and Yashunin, 2016)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from segue.errors import DataError
from segue.index.arrays import check_consistent, take, take_vectors
from segue.index.base import SearchPlan, SearchRequest, VectorIndex
from segue.index.checks import Bounds, check_integers, check_items, check_metric, check_vectors
from segue.index.effort import geometric
from segue.index.form import chosen_form
from segue.index.graph import Graph, GraphOptions, build_graph, extend_graph, flat_records
from segue.index.graph_arrays import restore_graph
from segue.index.metric import METRICS
from segue.kernels import hnsw, simd
from segue.kernels.arrays import readonly
from segue.progress import Progress, silent

NO_MEMBERS = np.empty(0, np.int32)
BOUNDS: dict[str, Bounds] = {
    "m": (2, 512), "ef_construction": (1, 1_000_000), "ef": (1, 1_000_000), "seed": (0, 2**63 - 1),
}  # fmt: skip


@dataclass(frozen=True)
class HNSW:
    """Approximate k-nearest-neighbor search in a graph (Malkov and Yashunin, 2016).

    Attributes:
        m: links that a vector chooses, 2 to 512; it has up to twice as many. More links find more and take
            more memory.
        ef_construction: candidates that the links of a vector are chosen from.
        ef: candidates that a search holds, the default `effort`. More candidates find more and take longer.
        metric: "dot" (inner product), "cosine", or "euclidean", whose scores are negative distances.
        seed: random seed of the levels and of the order in which vectors are linked.
    """

    METRICS: ClassVar[tuple[str, ...]] = tuple(METRICS)

    m: int = 16
    ef_construction: int = 200
    ef: int = 64
    metric: str = "dot"
    seed: int = 0

    def __post_init__(self) -> None:
        check_metric(self, self.METRICS)
        check_integers(self, BOUNDS)

    @property
    def graph_options(self) -> GraphOptions:
        """Return the options that a graph is built with."""
        return GraphOptions(self.m, self.ef_construction, METRICS[self.metric].is_distance, self.seed)

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> HNSWIndex:
        """Link vectors; the graph is the same with any number of threads.

        Args:
            vectors: (n, dim) float32, finite.
            queries: unused.
            progress: called with the number of vectors linked.

        Raises:
            DataError: the vectors are unusable.
        """
        items = METRICS[self.metric].transform(check_items(vectors))
        return HNSWIndex(
            self, items, build_graph(items, self.graph_options, progress), np.ones(len(items), bool)
        )

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> HNSWIndex:
        """Restore an index from its `arrays`; raise `DataError` if they do not fit together."""
        alive = take(arrays, "vectors", "alive")["alive"]
        vectors = take_vectors(arrays)
        check_consistent(alive.dtype == bool and alive.shape == vectors.shape[:1])
        graph = restore_graph(arrays, vectors.shape, self.m)
        return HNSWIndex(self, np.ascontiguousarray(vectors), graph, alive)


@dataclass(frozen=True, eq=False)
class HNSWIndex(VectorIndex):
    """Vectors with their graph.

    Attributes:
        settings: the settings of the index.
        vectors: (n, dim) float32, transformed for the metric.
        graph: the links between the vectors.
        alive: (n,) bool, False for removed items.
    """

    settings: HNSW
    vectors: np.ndarray
    graph: Graph
    alive: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model folder stores."""
        return {"vectors": self.vectors, "alive": self.alive, **vars(self.graph)}

    def with_items(self, vectors: np.ndarray) -> HNSWIndex:
        """Return an index with additional vectors (a, dim), which get the ids n..n+a-1.

        New vectors are linked to the existing ones. An index that has grown several times over is rebuilt.
        """
        new = METRICS[self.settings.metric].transform(check_vectors(vectors, "the vectors", self.dim))
        items = np.concatenate([self.vectors, new])
        alive = np.concatenate([self.alive, np.ones(len(new), bool)])
        graph = extend_graph(self.graph, items, self.settings.graph_options)
        return HNSWIndex(self.settings, items, graph, alive)

    def without_items(self, ids: npt.ArrayLike) -> HNSWIndex:
        """Return an index that never returns these ids; the other items keep their ids.

        Searches still pass through the removed items, so the graph stays connected; rebuild the index to drop
        them.
        """
        rows = np.asarray(ids).reshape(-1)
        if rows.size and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(self)):
            raise DataError(f"the ids to remove must be whole numbers in 0..{len(self) - 1}")
        alive = self.alive.copy()
        alive[rows.astype(np.int64)] = False
        return replace(self, alive=alive)

    def efforts(self, k: int) -> list[int]:
        """Return numbers of candidates, from fast to accurate."""
        return geometric(min(k, len(self)), min(len(self), max(1024, 16 * k)))

    def plan(self, request: SearchRequest) -> SearchPlan:
        """Search the graph with `effort` candidates, at least k.

        If scoring all allowed items is less work, or if a search finds fewer than k items, all are scored.
        """
        if not self._is_whole:
            allow = request.allow & self.alive if len(request.allow) else self.alive[None]
            request = request._replace(allow=allow)
        metric = METRICS[self.settings.metric]
        queries = metric.transform(request.queries)
        centered = readonly(queries - self.graph.center) if metric.is_distance else readonly(queries)
        ef = min(request.effort or self.settings.ef, len(self))
        efs = self._efs(request, max(ef, request.width))
        members = NO_MEMBERS
        if len(request.allow) == 1 and not efs.all():
            members = np.flatnonzero(request.allow).astype(np.int32)
        kernel: Callable[..., None] = hnsw.search
        return SearchPlan(
            kernel,
            (
                *self._arguments, readonly(queries), centered, readonly(efs), self._limit,
                readonly(members), *request.filters,
            ),
        )  # fmt: skip

    def _efs(self, request: SearchRequest, ef: int) -> np.ndarray:
        """Return how many candidates each query holds, (q,) int64, so that about `ef` are allowed.

        0 stands for scoring all items.
        """
        candidates = ef + np.diff(request.indptr)
        allowed = np.full(1, len(self))
        if len(request.allow):
            allowed = np.count_nonzero(request.allow, axis=1)
            candidates = -(-candidates * len(self) // np.maximum(allowed, 1))
        return np.where(candidates * self.graph.links.shape[1] < allowed, candidates, 0)

    @cached_property
    def _is_whole(self) -> bool:
        """Whether no item is removed."""
        return bool(self.alive.all())

    @property
    def _limit(self) -> int:
        """The number of candidates above which scoring all items is faster."""
        return len(self) // int(self.graph.links.shape[1])

    @cached_property
    def _arguments(self) -> tuple[object, ...]:
        """The arguments of the kernel that do not depend on the request."""
        graph = self.graph
        return (
            simd.MARKS[chosen_form().name], *flat_records(graph), graph.records.shape[1],
            readonly(graph.links).reshape(-1), graph.links.shape[1], readonly(graph.upper).reshape(-1),
            graph.upper.shape[1], readonly(graph.sizes), readonly(graph.order), readonly(self.vectors),
            METRICS[self.settings.metric].is_distance,
        )  # fmt: skip
