"""Cosine and euclidean search as inner products: the one place that turns vectors and scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Metric(NamedTuple):
    """How a metric becomes an inner product: on the items, on the queries, and back to a score.

    `score(products, queries)` gives what the user sees, higher is nearer.
    """

    items: Callable[[np.ndarray], np.ndarray]
    queries: Callable[[np.ndarray], np.ndarray]
    score: Callable[[np.ndarray, np.ndarray], np.ndarray]


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Return the rows at length 1; zero rows stay zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit


def _same(vectors: np.ndarray) -> np.ndarray:
    return vectors


def _products(products: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return products


def _with_half_square(vectors: np.ndarray) -> np.ndarray:
    """[x, -|x|²/2]: its product with [q, 1] falls with the distance |q - x|."""
    squares = (vectors.astype(np.float64) ** 2).sum(1)
    return np.column_stack([vectors, (-0.5 * squares).astype(np.float32)])


def _with_one(queries: np.ndarray) -> np.ndarray:
    return np.column_stack([queries, np.ones(len(queries), np.float32)])


def _negative_distance(products: np.ndarray, queries: np.ndarray) -> np.ndarray:
    squares = (queries.astype(np.float64) ** 2).sum(1, keepdims=True) - 2 * products.astype(np.float64)
    return np.where(np.isneginf(products), -np.inf, 0.0 - np.sqrt(np.maximum(squares, 0))).astype(np.float32)


METRICS: dict[str, Metric] = {
    "dot": Metric(_same, _same, _products),
    "cosine": Metric(normalised, normalised, _products),
    "euclidean": Metric(_with_half_square, _with_one, _negative_distance),
}
