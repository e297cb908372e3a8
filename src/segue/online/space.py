"""The space of profiles: the item vectors and what kinds of profile derive from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from segue.errors import DataError, SettingError
from segue.index.base import VectorIndex
from segue.index.checks import check_vectors
from segue.index.exact import Exact
from segue.models.embeddings import Embeddings
from segue.models.ials import IALS

SAMPLE = 4096  # users from which the typical length of a vector is computed


@dataclass(frozen=True, eq=False)
class Space:
    """Item vectors as a model learned them.

    Attributes:
        items: (n, dim) float32, biases in last columns where the model has them.
        biases: how many last columns hold biases, 0 or 2, as in `segue.models.Embeddings`.
        length: the length of an averaged profile's query: the median length of the user vectors, so that
            directions and biases have the same weight as in training.
        model: the resolved settings of the model; None if unknown.
    """

    items: np.ndarray
    biases: int = 0
    length: float = 1.0
    model: object = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", check_vectors(self.items, "the item vectors"))
        if not 0 <= self.biases < self.items.shape[1]:
            raise DataError(
                f"biases={self.biases} must be less than the {self.items.shape[1]} columns of the vectors"
            )

    @classmethod
    def of(cls, embeddings: Embeddings, model: object = None) -> Space:
        """Return the space of a model's embeddings."""
        users = embeddings.users[
            :: max(1, len(embeddings.users) // SAMPLE), : embeddings.dim - embeddings.biases
        ]
        lengths = np.linalg.norm(users, axis=1)
        positive = lengths[lengths > 0]
        length = float(np.median(positive)) if len(positive) else 1.0
        return cls(embeddings.items, embeddings.biases, length, model)

    @cached_property
    def dim(self) -> int:
        """The number of dimensions of profiles: that of the items without their biases."""
        return int(self.items.shape[1]) - self.biases

    def queries(self, directions: np.ndarray) -> np.ndarray:
        """Return queries (m, dim + biases) float32 of the typical length for unit vectors (m, dim)."""
        if not self.biases:
            return (directions * self.length).astype(np.float32)
        queries = np.zeros((len(directions), self.items.shape[1]), np.float32)
        queries[:, : self.dim] = directions * self.length
        queries[:, -1] = 1
        return queries

    def direction(self, row: int) -> np.ndarray:
        """The unit vector (dim,) float64 of an item; raises `DataError` for a zero vector."""
        vector: np.ndarray = self.items[row, : self.dim].astype(np.float64)
        length = math.sqrt(vector @ vector)
        if length == 0:
            raise DataError(
                f"item row {row} has a zero vector, because it had no interactions in training; a profile "
                "cannot learn from it: leave such picks out (see `Space.known`)"
            )
        return vector / length

    def known(self, rows: ArrayLike) -> np.ndarray:
        """Return which item rows have a nonzero vector, from which profiles can learn: (m,) bool."""
        return np.asarray(self.items[np.asarray(rows), : self.dim].any(-1))

    def neighbors(self, row: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows and cosines of the items nearest to an item, without the item itself."""
        k = min(count + 1, len(self.items))
        nearest = self._by_cosine.search(self.items[row : row + 1, : self.dim], k)
        others = nearest.ids[0] != row
        return nearest.ids[0][others][:count], nearest.scores[0][others][:count]

    @cached_property
    def _by_cosine(self) -> VectorIndex:
        index: VectorIndex = Exact(metric="cosine").build(self.items[:, : self.dim])
        return index

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The minimum and the maximum (dim,) of all items in each dimension."""
        vectors = self.items[:, : self.dim]
        return vectors.min(0), vectors.max(0)

    @cached_property
    def gram(self) -> np.ndarray:
        """The sum of y y' over all items y: (dim, dim) float64."""
        items = self.items.astype(np.float64)
        gram: np.ndarray = items.T @ items
        return gram

    @property
    def ials(self) -> IALS:
        """The settings of the iALS model that learned the items; raises `SettingError` for other models."""
        if not isinstance(self.model, IALS) or self.model.unobserved_weight is None:
            raise SettingError(
                f"a posterior needs an iALS model, but these vectors are of {type(self.model).__name__}: "
                "train an ials model, or choose another profile or exploration"
            )
        return self.model
