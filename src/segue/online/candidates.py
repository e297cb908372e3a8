"""The best items for one person, from which exploration and diversity choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segue.errors import DataError

Find = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class Selection(NamedTuple):
    """What one person is shown, and what must be known of it to learn from the outcome.

    Attributes:
        ids: (k,) int32 item rows, in the order in which they are shown.
        scores: (k,) float32, what the model thinks of them, whatever chance did.
        propensities: (k,) float64, the probability with which each was to be among the shown ones; 1 where
            nothing was left to chance.
    """

    ids: np.ndarray
    scores: np.ndarray
    propensities: np.ndarray


@dataclass(frozen=True, eq=False)
class CandidateContext:
    """Somebody who is to be shown something.

    Attributes:
        vector: (dim,) float32, the query.
        items: (n, dim) float32, all items.
        find: the k best items for a vector that this person may get: rows and scores, best first. It
            takes vectors with the dimension that `Optimism` adds, too.
        precision: (dim, dim) float64, the posterior precision A of the vector; None where it is not known.
        counts: (n,) how often each item was taken in training; None where it is not known.
        biases: how many last columns of the vectors hold biases, which say nothing about likeness or tastes.
    """

    vector: np.ndarray
    items: np.ndarray
    find: Find
    precision: np.ndarray | None = None
    counts: np.ndarray | None = None
    biases: int = 0

    def best(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows and scores of the best items, as many as there are."""
        ids, scores = self.find(self.vector, min(count, len(self.items)))
        return ids[ids >= 0], scores[ids >= 0]

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """What the model thinks of some items: (m,) float32."""
        made: np.ndarray = self.items[rows] @ self.vector
        return made

    def known_precision(self) -> np.ndarray:
        """The posterior precision, or `DataError` where there is none."""
        if self.precision is None:
            raise DataError(
                "Thompson sampling draws from the posterior of iALS, which is not known here: use an ials "
                "model, or choose another exploration"
            )
        return self.precision

    def known_counts(self) -> np.ndarray:
        """How often items were taken, or `DataError` where that is not known."""
        if self.counts is None:
            raise DataError("optimism needs to know how often each item was taken, and nothing came")
        return self.counts
