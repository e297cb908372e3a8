"""Embeddings: what a model learns, a vector for every user and every item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segue.errors import DataError
from segue.types import CSR


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors whose inner product is the score: `users @ items.T`.

    Attributes:
        users: (n_users, dim) float32.
        items: (n_items, dim) float32, biases folded into last columns where a model has them.
        biases: how many last columns hold biases: 0, or 2, users being [x, b_u, 1] and items [y, 1, b_i].
        user_features: (features, dim) float32, vectors of the features whose sums the users are; None where
            there are no features. Their column of ones is 0.
        item_features: the same for items.
        state: what training goes on from, where it was kept (`fit(keep_state=True)`).
    """

    users: np.ndarray
    items: np.ndarray
    biases: int = 0
    user_features: np.ndarray | None = None
    item_features: np.ndarray | None = None
    state: Mapping[str, np.ndarray] | None = None

    def __post_init__(self) -> None:
        for name in ("users", "items", "user_features", "item_features"):
            vectors = getattr(self, name)
            if vectors is None and name.endswith("features"):
                continue
            if vectors.ndim != 2 or vectors.dtype != np.float32:
                raise DataError(f"{name} must be (n, dim) float32, not {vectors.shape} {vectors.dtype}")
            if vectors.shape[1] != self.items.shape[1]:
                raise DataError(
                    f"{name} of {vectors.shape[1]} dimensions do not fit items of {self.items.shape[1]}"
                )
        if self.biases not in (0, 2) or self.biases > self.dim:
            raise DataError(f"biases={self.biases} must be 0 or 2 of the {self.dim} columns")

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return int(self.items.shape[1])

    @property
    def item_directions(self) -> np.ndarray:
        """The items without their biases: (n_items, dim - biases) float32, what similarity compares."""
        return self.items[:, : self.dim - self.biases]

    def users_of(self, features: CSR) -> np.ndarray:
        """Sum up user features (n × features CSR): (n, dim) float32; zeros where a row is empty."""
        return _sums(features, self.user_features, "user", self.dim - 1 if self.biases else None)

    def items_of(self, features: CSR) -> np.ndarray:
        """Sum up item features (n × features CSR): (n, dim) float32; zeros where a row is empty."""
        return _sums(features, self.item_features, "item", self.dim - 2 if self.biases else None)


def _sums(features: CSR, vectors: np.ndarray | None, side: str, one: int | None) -> np.ndarray:
    if vectors is None:
        raise DataError(f"the model was trained without {side} features; fit it with {side}_features=")
    if features.shape[1] != len(vectors):
        raise DataError(
            f"features of shape {features.shape} (rows × features) do not fit a model of {len(vectors):,} "
            f"{side} features"
        )
    made = np.asarray(features @ vectors, np.float32)
    if one is not None:
        made[:, one] = np.diff(features.indptr) > 0
    return made
