"""Exact search by Manhattan and Hamming distance: compare each query with every vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segue.errors import DataError
from segue.index.arrays import check_consistent, take
from segue.index.base import IndexSettings, SearchPlan, SearchRequest, VectorIndex
from segue.kernels import measures
from segue.kernels.arrays import readonly


def _unchanged(vectors: np.ndarray, noun: str) -> np.ndarray:
    return vectors


def _pack_bits(vectors: np.ndarray, noun: str) -> np.ndarray:
    """Return rows of zeros and ones (n, dim) as (n, dim / 64) uint64 words, or raise `DataError`."""
    if not np.isin(vectors, (0, 1)).all():
        raise DataError(f"{noun} must hold only 0 and 1 for metric='hamming'")
    bits = np.zeros((len(vectors), -(-vectors.shape[1] // 64) * 64), bool)
    bits[:, : vectors.shape[1]] = vectors != 0
    return np.packbits(bits, axis=1).view(np.uint64)


class Measure(NamedTuple):
    """A distance that does not reduce to an inner product.

    Attributes:
        transform: applied to vectors first; takes a noun for error messages.
        kernel: the search kernel.
    """

    transform: Callable[[np.ndarray, str], np.ndarray]
    kernel: Callable[..., None]


MEASURES = {
    "manhattan": Measure(_unchanged, measures.search_manhattan),
    "hamming": Measure(_pack_bits, measures.search_hamming),
}


@dataclass(frozen=True, eq=False)
class BruteForceIndex(VectorIndex):
    """Vectors transformed for their measure; scores are negative distances.

    Attributes:
        settings: the settings with a metric in `MEASURES`.
        vectors: (n, dim) float32, or (n, dim / 64) uint64 words for hamming.
        input_dim: the number of dimensions of a query.
    """

    settings: IndexSettings
    vectors: np.ndarray
    input_dim: int

    @classmethod
    def build(cls, settings: IndexSettings, vectors: np.ndarray) -> BruteForceIndex:
        """Transform validated vectors (n, dim) float32."""
        measure = MEASURES[settings.metric]
        return cls(settings, measure.transform(vectors, "the vectors"), vectors.shape[1])

    @classmethod
    def from_arrays(cls, settings: IndexSettings, arrays: Mapping[str, np.ndarray]) -> BruteForceIndex:
        """Restore the index from its `arrays`; raise `DataError` if they do not fit together."""
        return cls(settings, *stored_vectors(arrays, settings.metric))

    @property
    def dim(self) -> int:
        """Return the number of dimensions of a query."""
        return self.input_dim

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that a model folder stores."""
        return {"vectors": self.vectors, "dim": np.array([self.input_dim])}

    def efforts(self, k: int) -> list[int]:
        """Return no efforts: exact search has no dial."""
        return []

    def plan(self, request: SearchRequest) -> SearchPlan:
        """Compare each query with every vector."""
        measure = MEASURES[self.settings.metric]
        queries = readonly(measure.transform(request.queries, "queries"))
        return SearchPlan(measure.kernel, (queries, readonly(self.vectors), *request.filters))


def stored_vectors(arrays: Mapping[str, np.ndarray], metric: str) -> tuple[np.ndarray, int]:
    """Return stored vectors and the number of dimensions of a query, or raise `DataError`."""
    vectors, dims = take(arrays, "vectors", "dim").values()
    check_consistent(vectors.ndim == 2 and len(vectors) and dims.shape == (1,))
    dim = int(dims[0])
    dtype, width = (np.uint64, -(-dim // 64)) if metric == "hamming" else (np.float32, dim)
    if vectors.dtype != dtype or vectors.shape[1] != width:
        raise DataError(f"the index's vectors are not of {dim} dimensions for metric={metric!r}")
    return vectors, dim
