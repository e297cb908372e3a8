"""Cosine and euclidean search as inner products: the one place that turns vectors and orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Metric(NamedTuple):
    """How a metric becomes an inner product.

    Attributes:
        turn: what is done to the items at build, and to the queries at search.
        is_distance: whether the score is the negative euclidean distance, whose order is that of
            q·x - |x|²/2, because |q - x|² = |q|² - 2 (q·x - |x|²/2).
    """

    turn: Callable[[np.ndarray], np.ndarray]
    is_distance: bool


def as_they_are(vectors: np.ndarray) -> np.ndarray:
    """Return the rows unchanged."""
    return vectors


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Return the rows at length 1; zero rows stay zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit


METRICS: dict[str, Metric] = {
    "dot": Metric(as_they_are, is_distance=False),
    "cosine": Metric(normalised, is_distance=False),
    "euclidean": Metric(as_they_are, is_distance=True),
}
