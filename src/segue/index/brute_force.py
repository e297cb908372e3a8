"""Exact search by Manhattan and Hamming distance: every vector is compared, by kernels of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from segue.errors import DataError
from segue.index.base import Neighbors, answered, check_asked, check_vectors
from segue.kernels import measures
from segue.kernels.arrays import readonly
from segue.progress import Progress, silent


def _as_they_are(vectors: np.ndarray, what: str) -> np.ndarray:
    return vectors


def _packed(vectors: np.ndarray, what: str) -> np.ndarray:
    """Rows of zeros and ones as uint64 words."""
    if not np.isin(vectors, (0, 1)).all():
        raise DataError(f"{what} must hold only 0 and 1 for metric='hamming'")
    bits = np.zeros((len(vectors), -(-vectors.shape[1] // 64) * 64), bool)
    bits[:, : vectors.shape[1]] = vectors != 0
    return np.packbits(bits, axis=1).view(np.uint64)


class Measure(NamedTuple):
    """How a distance is measured: what is done to vectors first, and the kernel that searches."""

    turn: Callable[[np.ndarray, str], np.ndarray]
    search: Any


MEASURES = {
    "manhattan": Measure(_as_they_are, measures.search_manhattan),
    "hamming": Measure(_packed, measures.search_hamming),
}


@dataclass(frozen=True, eq=False)
class BruteForceIndex:
    """Vectors (n, ·) as their measure wants them; the scores are negative distances."""

    settings: Any
    vectors: np.ndarray
    dim: int

    @classmethod
    def of(cls, settings: Any, vectors: np.ndarray) -> BruteForceIndex:
        """Prepare vectors (n, dim) float32, which have been checked."""
        return cls(settings, MEASURES[settings.metric].turn(vectors, "the vectors"), vectors.shape[1])

    @classmethod
    def from_arrays(cls, settings: Any, arrays: Mapping[str, np.ndarray]) -> BruteForceIndex:
        """Take back what the index gave with `arrays`."""
        return cls(settings, arrays["vectors"], int(arrays["dim"][0]))

    def __len__(self) -> int:
        return len(self.vectors)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a model folder keeps of the index."""
        return {"vectors": self.vectors, "dim": np.array([self.dim])}

    def efforts(self, k: int) -> list[int]:
        """Return no efforts: exact search has no dial."""
        return []

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
        """Find the k nearest of each query (q, dim) float32; see `ExactIndex.search`."""
        measure = MEASURES[self.settings.metric]
        asked = check_asked(check_vectors(queries, "queries", self.dim), k, exclude, allow, len(self))
        turned, vectors = readonly(measure.turn(asked.queries, "queries")), readonly(self.vectors)

        def work(start: int, stop: int, *answers: np.ndarray) -> None:
            measure.search(turned, vectors, *asked.filters, start, stop, *answers)

        return answered(asked, work, progress)
