"""A forest of random trees, as in Annoy: approximate search on static arrays that processes can share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from segue.index.base import SearchPlan, SearchRequest, VectorIndex
from segue.index.brute_force import MEASURES, stored_vectors
from segue.index.checks import Bounds, check_integers, check_items, check_metric
from segue.index.effort import geometric
from segue.index.forest_arrays import ForestArrays, grow_forest
from segue.index.forest_restore import restore_forest
from segue.index.form import chosen_form
from segue.index.metric import METRICS
from segue.kernels import forest, simd
from segue.kernels.arrays import readonly
from segue.progress import Progress, silent

SCORES = {
    "dot": forest.DOT,
    "cosine": forest.DOT,
    "euclidean": forest.EUCLIDEAN,
    "manhattan": forest.MANHATTAN,
    "hamming": forest.HAMMING,
}
MIN_EFFORT = 2000  # items that a search scores by default, at least
NO_WORDS = np.empty((0, 0), np.uint64)
NO_FLOATS = np.empty((0, 0), np.float32)
BOUNDS: dict[str, Bounds] = {"trees": (1, 100_000), "leaf": (2, 100_000), "seed": (0, 2**63 - 1)}

_score_all: Callable[..., None] = forest.score_all
_search: Callable[..., None] = forest.search


@dataclass(frozen=True)
class Forest:
    """Approximate k-nearest-neighbor search by a forest of random trees (Annoy, E. Bernhardsson, 2013).

    Attributes:
        trees: number of trees. More trees find more with the same number of scored items, and take more time
            and memory to build.
        metric: "dot" (inner product), "cosine", or one of the distances "euclidean", "manhattan" and
            "hamming" (of vectors of 0 and 1). Scores of distances are negative.
        leaf: the most items of a leaf.
        seed: random seed of the splits.
    """

    METRICS: ClassVar[tuple[str, ...]] = tuple(SCORES)

    trees: int = 50
    metric: str = "dot"
    leaf: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_metric(self, self.METRICS)
        check_integers(self, BOUNDS)

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> ForestIndex:
        """Grow trees over vectors; the trees are the same with any number of threads.

        Args:
            vectors: (n, dim) float32, finite.
            queries: unused.
            progress: called with the number of trees, as a share of the vectors.

        Raises:
            DataError: the vectors are unusable.
        """
        items = check_items(vectors)
        dim = items.shape[1]
        items = _transform(self.metric, items, "the vectors")
        trees = grow_forest(items, self.metric, self.trees, self.leaf, self.seed, progress)
        return ForestIndex(self, items, dim, trees)

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> ForestIndex:
        """Restore an index from its `arrays`; raise `DataError` if they do not fit together."""
        vectors, dim = stored_vectors(arrays, self.metric)
        return ForestIndex(self, vectors, dim, restore_forest(arrays, vectors.shape, self.metric))


@dataclass(frozen=True, eq=False)
class ForestIndex(VectorIndex):
    """Vectors with the trees over them.

    Attributes:
        settings: the settings of the index.
        vectors: (n, dim) float32 transformed for the metric, or (n, dim / 64) uint64 words for hamming.
        input_dim: the number of dimensions of a query.
        trees: the trees and the codes of the items.
    """

    settings: Forest
    vectors: np.ndarray
    input_dim: int
    trees: ForestArrays

    @property
    def dim(self) -> int:
        """Return the number of dimensions of a query."""
        return self.input_dim

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model folder stores."""
        return {"vectors": self.vectors, "dim": np.array([self.input_dim]), **vars(self.trees)}

    def efforts(self, k: int) -> list[int]:
        """Return numbers of scored items, from fast to accurate."""
        return geometric(min(4 * k, len(self)), len(self))

    def plan(self, request: SearchRequest) -> SearchPlan:
        """Score `effort` items and return the best k.

        The default effort is `trees` × k, and at least 2000. If no more items than that are allowed, all are
        scored. The search continues until a query has its k items.
        """
        metric = self.settings.metric
        effort = request.effort or max(MIN_EFFORT, self.settings.trees * request.width)
        queries = _transform(metric, request.queries, "queries")
        floats, words = (NO_FLOATS, queries) if metric == "hamming" else (queries, NO_WORDS)
        inputs = readonly(floats), readonly(words)
        allowed = int(request.allow.sum(1).max(initial=0)) if len(request.allow) else len(self)
        if effort >= allowed:
            return SearchPlan(_score_all, (*self._scoring, *inputs, *request.filters))
        in_frame = readonly(self.trees.to_frame(queries, metric))
        arguments = (*self._arguments, *inputs, in_frame, np.int64(effort), *request.filters)
        return SearchPlan(_search, arguments)

    @cached_property
    def _scoring(self) -> tuple[object, ...]:
        """The arguments of scoring: the measure, the vectors as float32 and as words; one is empty."""
        measure = np.int64(SCORES[self.settings.metric])
        if self.settings.metric == "hamming":
            return measure, readonly(NO_FLOATS), readonly(self.vectors)
        return measure, readonly(self.vectors), readonly(NO_WORDS)

    @cached_property
    def _arguments(self) -> tuple[object, ...]:
        """The arguments of the kernel that do not depend on the request."""
        trees = self.trees
        arrays = (
            trees.order, trees.codes, trees.half_sq_norms, trees.residual_norms, trees.limits, trees.scales,
            trees.nodes, trees.nodes.view(np.float32), trees.planes, trees.members, trees.roots,
        )  # fmt: skip
        return (simd.MARKS[chosen_form().name], *self._scoring, *map(readonly, arrays))


def _transform(metric: str, vectors: np.ndarray, noun: str) -> np.ndarray:
    """Return vectors normalized for cosine, as words of bits for hamming, else unchanged."""
    if metric in METRICS:
        return METRICS[metric].transform(vectors)
    return MEASURES[metric].transform(vectors, noun)
