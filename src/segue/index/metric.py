"""Metrics that reduce to an inner product: dot, cosine and euclidean."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Metric(NamedTuple):
    """How a metric reduces to an inner product.

    Attributes:
        transform: applied to the items at build and to the queries at search.
        is_distance: whether the score is the negative euclidean distance, which orders items like
            q·x - |x|²/2, because |q - x|² = |q|² - 2 (q·x - |x|²/2).
    """

    transform: Callable[[np.ndarray], np.ndarray]
    is_distance: bool


def unchanged(vectors: np.ndarray) -> np.ndarray:
    """Return the rows unchanged."""
    return vectors


def normalize_rows(vectors: np.ndarray) -> np.ndarray:
    """Return the rows scaled to length 1; zero rows stay zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit


METRICS: dict[str, Metric] = {
    "dot": Metric(unchanged, is_distance=False),
    "cosine": Metric(normalize_rows, is_distance=False),
    "euclidean": Metric(unchanged, is_distance=True),
}
