"""The space that profiles live in: the items' vectors, and what some kinds of profile make of them once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from segue.errors import DataError, SettingError
from segue.index.base import check_vectors
from segue.index.exact import Exact
from segue.models.embeddings import Embeddings
from segue.models.ials import IALS

SAMPLE = 4096  # users of whom the usual length of a vector is taken


@dataclass(frozen=True, eq=False)
class Space:
    """Item vectors as a model learned them.

    Attributes:
        items: (n, dim) float32, biases in last columns where the model has them.
        biases: how many last columns hold biases, 0 or 2, as in `segue.models.Embeddings`.
        length: that the query of an averaged profile gets: the usual one of a user's vector, so that
            directions and biases weigh as in training.
        model: the settings of the model, `resolved`; None where nothing is known of it.
    """

    items: np.ndarray
    biases: int = 0
    length: float = 1.0
    model: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", check_vectors(self.items, "the items' vectors"))
        if not 0 <= self.biases < self.items.shape[1]:
            raise DataError(f"biases={self.biases} leaves none of {self.items.shape[1]} columns")

    @classmethod
    def of(cls, embeddings: Embeddings, model: Any = None) -> Space:
        """The space of what a model with these settings learned."""
        users = embeddings.users[
            :: max(1, len(embeddings.users) // SAMPLE), : embeddings.dim - embeddings.biases
        ]
        lengths = np.linalg.norm(users, axis=1)
        known = lengths[lengths > 0]
        return cls(embeddings.items, embeddings.biases, float(np.median(known)) if len(known) else 1.0, model)

    @cached_property
    def dim(self) -> int:
        """The dimensions of profiles: those of the items without their biases."""
        return int(self.items.shape[1]) - self.biases

    def queries(self, directions: np.ndarray) -> np.ndarray:
        """Turn unit vectors (m, dim) into queries (m, dim + biases) float32 of the usual length."""
        if not self.biases:
            return (directions * self.length).astype(np.float32)
        made = np.zeros((len(directions), self.items.shape[1]), np.float32)
        made[:, : self.dim] = directions * self.length
        made[:, -1] = 1
        return made

    def direction(self, row: int) -> np.ndarray:
        """The unit vector (dim,) float64 of an item; raises `DataError` for a zero vector."""
        vector: np.ndarray = self.items[row, : self.dim].astype(np.float64)
        length = math.sqrt(vector @ vector)
        if length == 0:
            raise DataError(
                f"item row {row} has a zero vector, from which nothing can be learned about a person: "
                "it had no interactions in training; leave such picks out (see `Space.known`)"
            )
        return vector / length

    def known(self, rows: Any) -> np.ndarray:
        """Tell which of some item rows have vectors that a profile can learn from: (m,) bool."""
        return np.asarray(self.items[np.asarray(rows), : self.dim].any(-1))

    def neighbors(self, row: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows and cosines of the items nearest to an item, itself left out."""
        allowed = min(count + 1, len(self.items))
        found = self._by_cosine.search(self.items[row : row + 1, : self.dim], allowed)
        others = found.ids[0] != row
        return found.ids[0][others][:count], found.scores[0][others][:count]

    @cached_property
    def _by_cosine(self) -> Any:
        return Exact(metric="cosine").build(self.items[:, : self.dim])

    @cached_property
    def gram(self) -> np.ndarray:
        """The sum of y y' over all items y: (dim, dim) float64."""
        items = self.items.astype(np.float64)
        made: np.ndarray = items.T @ items
        return made

    @property
    def ials(self) -> IALS:
        """The settings of the iALS whose items these are, or `SettingError`."""
        if not isinstance(self.model, IALS) or self.model.unobserved_weight is None:
            raise SettingError(
                f"a posterior is that of iALS, but these vectors are of {type(self.model).__name__}: "
                "train an ials model, or choose another profile"
            )
        return self.model
