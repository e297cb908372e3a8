"""HNSW: approximate search in layered graphs of neighbours (Malkov and Yashunin, 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.base import Neighbors, SearchRequest, answered, check_asked, check_vectors
from segue.index.exact import chosen_form
from segue.index.graph import Graph, build_graph, flat, graph_of, grown
from segue.index.metric import METRICS
from segue.index.timing import geometric
from segue.kernels import hnsw, simd
from segue.kernels.arrays import readonly
from segue.progress import Progress, silent

NOBODY = np.empty(0, np.int32)
kernels: Any = hnsw
LIMITS = {"m": (2, 512), "ef_construction": (1, 1_000_000), "ef": (1, 1_000_000), "seed": (0, 2**63 - 1)}


@dataclass(frozen=True)
class HNSW:
    """Approximate k-nearest-neighbour search in a graph (Malkov and Yashunin, 2016).

    Attributes:
        m: links that a vector chooses, 2 to 512; it has up to twice as many. More find more and take memory.
        ef_construction: candidates that a vector's links are chosen from.
        ef: candidates that a search keeps, the default of its `effort`. More find more and take time.
        metric: "dot" (inner product), "cosine", or the distance "euclidean", whose scores are negative.
        seed: of the levels, and of the order in which vectors are linked.
    """

    METRICS: ClassVar = tuple(METRICS)

    m: int = 16
    ef_construction: int = 200
    ef: int = 64
    metric: str = "dot"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.metric not in self.METRICS:
            known = ", ".join(map(repr, self.METRICS))
            raise SettingError(f"HNSW(metric={self.metric!r}) must be one of {known}")
        for name, (least, most) in LIMITS.items():
            check_whole(f"HNSW({name}=", getattr(self, name), least, most, ")")

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> HNSWIndex:
        """Link vectors (n, dim), finite, or raise `DataError`; the same with any number of threads.

        `queries`, which other indexes learn from, changes nothing. `progress` hears of the vectors.
        """
        checked = check_vectors(vectors, "the vectors")
        if not len(checked):
            raise DataError("there are no vectors to search in")
        turned = METRICS[self.metric].turn(checked)
        return HNSWIndex(self, turned, build_graph(turned, self, progress), np.ones(len(turned), bool))

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> HNSWIndex:
        """Take back what the index gave with `arrays`; raises `DataError` if they are not of one index."""
        vectors, alive = arrays.get("vectors"), arrays.get("alive")
        if vectors is None or alive is None:
            raise DataError("the index lacks the arrays vectors, alive; build it again from its vectors")
        if (
            vectors.ndim != 2
            or vectors.dtype != np.float32
            or alive.dtype != bool
            or alive.shape != vectors.shape[:1]
        ):
            raise DataError("the index's arrays do not fit together; build it again from its vectors")
        return HNSWIndex(self, np.ascontiguousarray(vectors), graph_of(arrays, vectors.shape, self), alive)


@dataclass(frozen=True, eq=False)
class HNSWIndex:
    """Vectors (n, dim) float32, turned as the metric wants, their graph, and which of them may be found."""

    settings: HNSW
    vectors: np.ndarray
    graph: Graph
    alive: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a model folder keeps of the index."""
        kept = {field.name: getattr(self.graph, field.name) for field in fields(Graph)}
        return {"vectors": self.vectors, "alive": self.alive, **kept}

    def with_items(self, vectors: np.ndarray) -> HNSWIndex:
        """Return an index that holds vectors (a, dim) too, with the ids n..n+a-1.

        They are linked to what is there, as in `build`. What has grown several times over is built anew.
        """
        checked = check_vectors(vectors, "the vectors", self.vectors.shape[1])
        turned = np.concatenate([self.vectors, METRICS[self.settings.metric].turn(checked)])
        alive = np.concatenate([self.alive, np.ones(len(checked), bool)])
        return HNSWIndex(self.settings, turned, grown(self.graph, turned, self.settings), alive)

    def without_items(self, ids: Any) -> HNSWIndex:
        """Return an index that never finds these ids; the others keep theirs.

        Searches still pass through them, so that nothing comes apart; to be rid of them, build anew.
        """
        gone = np.asarray(ids).reshape(-1)
        if gone.size and (gone.dtype.kind not in "iu" or gone.min() < 0 or gone.max() >= len(self)):
            raise DataError(f"the ids to leave out must be whole numbers in 0..{len(self) - 1}")
        alive = self.alive.copy()
        alive[gone.astype(np.int64)] = False
        return replace(self, alive=alive)

    def efforts(self, k: int) -> list[int]:
        """Return efforts from fast to accurate: candidates kept."""
        return geometric(min(k, len(self)), min(len(self), max(1024, 16 * k)))

    def search(
        self,
        queries: np.ndarray,
        k: int,
        *,
        exclude: Any = None,
        allow: Any = None,
        effort: int | None = None,
        progress: Progress = silent,
    ) -> Neighbors:
        """Find k of the best items of each query (q, dim) float32; see `ExactIndex.search`.

        `effort`: the candidates that are kept, instead of `ef`; at least k are. Where filters leave so few
        items that scoring them all is less work, or where a search finds fewer than k, all are scored.
        """
        asked = check_asked(
            check_vectors(queries, "queries", self.vectors.shape[1]), k, exclude, allow, len(self)
        )
        ef = self.settings.ef if effort is None else check_whole("effort=", effort, *LIMITS["ef"])
        if not self._whole:
            asked = asked._replace(allow=asked.allow & self.alive if len(asked.allow) else self.alive[None])
        metric = METRICS[self.settings.metric]
        turned = metric.turn(asked.queries)
        seen_from = readonly(turned - self.graph.centre) if metric.is_distance else readonly(turned)
        efs = self._efs(asked, max(ef, asked.width))
        members = NOBODY
        if len(asked.allow) == 1 and not efs.all():
            members = np.flatnonzero(asked.allow).astype(np.int32)
        told = (readonly(turned), seen_from, readonly(efs), self._limit, readonly(members))
        given: tuple[Any, ...] = (*self._given, *told, *asked.filters)

        def work(start: int, stop: int, *answers: np.ndarray) -> None:
            kernels.search(*given, start, stop, *answers)

        return answered(asked, work, progress)

    def _efs(self, asked: SearchRequest, ef: int) -> np.ndarray:
        """The candidates that each query keeps, (q,) int64, so that about `ef` may be got; 0: score all."""
        wanted = ef + np.diff(asked.indptr)
        eligible = np.full(1, len(self))
        if len(asked.allow):
            eligible = np.count_nonzero(asked.allow, axis=1)
            wanted = -(-wanted * len(self) // np.maximum(eligible, 1))
        return np.where(wanted * self.graph.links.shape[1] < eligible, wanted, 0)

    @cached_property
    def _whole(self) -> bool:
        return bool(self.alive.all())

    @property
    def _limit(self) -> int:
        """More candidates than these take longer than scoring all items."""
        return len(self) // int(self.graph.links.shape[1])

    @cached_property
    def _given(self) -> tuple[Any, ...]:
        """What the search needs of the index."""
        graph = self.graph
        layers = (readonly(graph.upper).reshape(-1), graph.upper.shape[1], readonly(graph.sizes))
        return (
            simd.MARKS[chosen_form().name], *flat(graph), graph.records.shape[1],
            readonly(graph.links).reshape(-1), graph.links.shape[1], *layers, readonly(graph.order),
            readonly(self.vectors), METRICS[self.settings.metric].is_distance,
        )  # fmt: skip


def check_whole(what: str, value: Any, least: int, most: int, end: str = "") -> int:
    """Return a whole number within limits as an int, or raise `SettingError`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise SettingError(f"{what}{value!r}{end} must be a whole number from {least} to {most}")
    return int(value)
