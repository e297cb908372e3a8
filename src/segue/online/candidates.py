"""The candidates for one user's list, from which exploration and diversification choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segue.errors import DataError

Find = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class Selection(NamedTuple):
    """A list and what is needed to learn from its outcome.

    Attributes:
        ids: (k,) int32 item rows, in the order of the list.
        scores: (k,) float32, the model's scores, without noise.
        propensities: (k,) float64, the probability of each item to be in the list; 1 without chance.
    """

    ids: np.ndarray
    scores: np.ndarray
    propensities: np.ndarray


@dataclass(frozen=True, eq=False)
class CandidateContext:
    """One user's query and what explorations need to know about it.

    Attributes:
        vector: (dim,) float32, the query.
        items: (n, dim) float32, all items.
        find: returns the rows and scores (m, k) of the k best allowed items for vectors (m, dim), best first,
            -1 after the last. It also takes vectors with the extra dimension of `Optimism`.
        precision: (dim, dim) float64, the posterior precision A of the vector; None if unknown.
        counts: (n,) the number of training users of each item; None if unknown.
        biases: the number of last columns of the vectors that hold biases, which say nothing about
            similarity.
        item_bounds: the minimum and the maximum (dim,) of all items in each dimension; computed if None.
    """

    vector: np.ndarray
    items: np.ndarray
    find: Find
    precision: np.ndarray | None = None
    counts: np.ndarray | None = None
    biases: int = 0
    item_bounds: tuple[np.ndarray, np.ndarray] | None = None

    def best(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows and scores of the best items, at most `count`."""
        ids, scores = self.find(self.vector[None], min(count, len(self.items)))
        return ids[0][ids[0] >= 0], scores[0][ids[0] >= 0]

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Return the model's scores of item rows: (m,) float32."""
        scores: np.ndarray = self.items[rows] @ self.vector
        return scores

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the minimum and the maximum of all items in each dimension, (dim,) each, without biases."""
        if self.item_bounds is not None:
            return self.item_bounds
        vectors = self.items[:, : self.items.shape[1] - self.biases]
        return vectors.min(0), vectors.max(0)

    def require_precision(self) -> np.ndarray:
        """Return the posterior precision, or raise `DataError` if it is unknown."""
        if self.precision is None:
            raise DataError(
                "Thompson sampling draws from the posterior of iALS, which is unknown here: use an ials "
                "model, or choose another exploration"
            )
        return self.precision

    def require_counts(self) -> np.ndarray:
        """Return the counts of the items, or raise `DataError` if they are unknown."""
        if self.counts is None:
            raise DataError("optimism needs counts=, the number of training users of each item")
        return self.counts
