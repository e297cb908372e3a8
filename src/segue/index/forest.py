"""A forest of random trees, as Annoy's: approximate search on static arrays that processes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.base import Neighbors, answered, check_asked, check_vectors
from segue.index.brute_force import MEASURES
from segue.index.exact import chosen_form
from segue.index.forest_arrays import ForestArrays, grove_of, grow_forest
from segue.index.metric import METRICS
from segue.index.timing import geometric
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
LEAST = 2000  # items that a search scores if it is not told how many


@dataclass(frozen=True)
class Forest:
    """Approximate k-nearest-neighbour search by a forest of random trees (Annoy, E. Bernhardsson, 2013).

    Attributes:
        trees: how many. More find more among as many items scored, and take as much more time and memory to
            build.
        metric: "dot" (inner product), "cosine", or the distances "euclidean", "manhattan" and "hamming"
            (of vectors of 0 and 1), whose scores are negative.
        leaf: the most items of a leaf.
        seed: of the random splits.
    """

    METRICS: ClassVar = tuple(SCORES)

    trees: int = 50
    metric: str = "dot"
    leaf: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.metric not in self.METRICS:
            raise SettingError(
                f"Forest(metric={self.metric!r}) must be one of {', '.join(map(repr, self.METRICS))}"
            )
        for name, least, most in (("trees", 1, 100_000), ("leaf", 2, 100_000), ("seed", 0, 2**63 - 1)):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, np.integer))
                or not least <= value <= most
            ):
                raise SettingError(f"Forest({name}={value!r}) must be a whole number of {least} to {most}")

    def build(
        self, vectors: np.ndarray, *, queries: np.ndarray | None = None, progress: Progress = silent
    ) -> ForestIndex:
        """Grow trees over vectors (n, dim), finite, with any number of threads; raises `DataError`.

        `queries` changes nothing. `progress` hears of the trees, as shares of the vectors.
        """
        checked = check_vectors(vectors, "the vectors")
        if not len(checked):
            raise DataError("there are no vectors to search in")
        turned = turn_for(self.metric, checked, "the vectors")
        grove = grow_forest(turned, self.metric, self.trees, self.leaf, self.seed, progress)
        return ForestIndex(self, turned, checked.shape[1], grove)

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> ForestIndex:
        """Take back what the index gave with `arrays`; raises `DataError` if they are not of one index."""
        vectors, dim = arrays.get("vectors"), arrays.get("dim")
        if vectors is None or dim is None or vectors.ndim != 2 or dim.shape != (1,) or not len(vectors):
            raise DataError("the index lacks its vectors; build it again from them")
        kind, width = (
            (np.uint64, -(-int(dim[0]) // 64)) if self.metric == "hamming" else (np.float32, int(dim[0]))
        )
        if vectors.dtype != kind or vectors.shape[1] != width:
            raise DataError(
                f"the index's vectors are not of {int(dim[0])} dimensions for metric={self.metric!r}"
            )
        return ForestIndex(self, vectors, int(dim[0]), grove_of(arrays, vectors, self.metric))


@dataclass(frozen=True, eq=False)
class ForestIndex:
    """Vectors (n, ·) as their metric wants them, and the trees over them."""

    settings: Forest
    vectors: np.ndarray
    dim: int
    grove: ForestArrays

    def __len__(self) -> int:
        return len(self.vectors)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a model folder keeps of the index."""
        return {"vectors": self.vectors, "dim": np.array([self.dim]), **vars(self.grove)}

    def efforts(self, k: int) -> list[int]:
        """Return efforts from fast to accurate: numbers of items scored."""
        return geometric(min(4 * k, len(self)), len(self))

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
        """Find about the k best items of each query (q, dim) float32.

        `effort`: how many items are scored, the k best of which are the answer; by default `trees` × k, and
        at least 2000. All are scored where there are no more. For the other arguments see
        `ExactIndex.search`: every query gets min(k, eligible) items, for which the search goes on until it
        has them.
        """
        metric = self.settings.metric
        asked = check_asked(check_vectors(queries, "queries", self.dim), k, exclude, allow, len(self))
        least = check_effort(effort, self.settings.trees, asked.width)
        turned = turn_for(metric, asked.queries, "queries")
        placed = self.grove.placed(turned, metric)
        none = np.empty((0, 0), np.float32)
        floats, bits = (none, turned) if metric == "hamming" else (turned, NO_WORDS)
        arrays = (*map(readonly, (floats, bits, placed)), np.int64(least), *asked.filters)
        few = least >= (len(self) if not len(asked.allow) else int(asked.allow.sum(1).max(initial=0)))

        score_all: Any = forest.score_all
        search: Any = forest.search

        def work(start: int, stop: int, *answers: np.ndarray) -> None:
            if few:
                score_all(*self._scored, *arrays[:2], *asked.filters, start, stop, *answers)
            else:
                search(*self._given, *arrays, start, stop, *answers)

        return answered(asked, work, progress)

    @cached_property
    def _scored(self) -> tuple[Any, ...]:
        """What scoring needs of the index: its vectors as float32 or as words, the other empty."""
        measure = np.int64(SCORES[self.settings.metric])
        if self.settings.metric == "hamming":
            return measure, readonly(np.empty((0, 0), np.float32)), readonly(self.vectors)
        return measure, readonly(self.vectors), readonly(NO_WORDS)

    @cached_property
    def _given(self) -> tuple[Any, ...]:
        """What the search needs of the index."""
        grove = self.grove
        arrays = (
            grove.order, grove.codes, grove.offsets, grove.tails, grove.limits, grove.scales, grove.nodes,
            grove.nodes.view(np.float32), grove.planes, grove.members, grove.roots,
        )  # fmt: skip
        return (simd.MARKS[chosen_form().name], *self._scored, *map(readonly, arrays))


NO_WORDS = np.empty((0, 0), np.uint64)


def turn_for(metric: str, vectors: np.ndarray, what: str) -> np.ndarray:
    """Vectors as their scores want them: normalised for cosine, words of bits for hamming."""
    if metric in METRICS:
        return METRICS[metric].turn(vectors)
    return MEASURES[metric].turn(vectors, what)


def check_effort(effort: Any, trees: int, k: int) -> int:
    """Return how many items to score, or raise `SettingError`."""
    if effort is None:
        return max(LEAST, trees * k)
    if isinstance(effort, bool) or not isinstance(effort, (int, np.integer)) or effort < 1:
        raise SettingError(f"effort={effort!r} must be a whole number of at least 1, or None")
    return int(effort)
