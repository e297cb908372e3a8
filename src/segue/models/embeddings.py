"""Embeddings: what a model learns, a vector for every user and every item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segue.errors import DataError


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors whose inner product is the score: `users @ items.T`.

    Attributes:
        users: (n_users, dim) float32.
        items: (n_items, dim) float32, biases folded into a last column where a model has them.
    """

    users: np.ndarray
    items: np.ndarray

    def __post_init__(self) -> None:
        for name in ("users", "items"):
            vectors = getattr(self, name)
            if vectors.ndim != 2 or vectors.dtype != np.float32:
                raise DataError(f"{name} must be (n, dim) float32, not {vectors.shape} {vectors.dtype}")
        if self.users.shape[1] != self.items.shape[1]:
            raise DataError(
                f"users of {self.users.shape[1]} dimensions do not fit items of {self.items.shape[1]}"
            )

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return int(self.items.shape[1])
