"""What has changed since a model was trained: the start of an update."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from segue.data.interactions import Interactions
from segue.models.embeddings import Embeddings
from segue.progress import Progress, silent
from segue.types import CSR

GROWN = 0.1  # share of an item's interactions that must be new for models of many small steps to move it


@dataclass(frozen=True, eq=False)
class Update:
    """New interactions, beside all there are, and vectors that have rows for everybody.

    Attributes:
        embeddings: what was learned before; new rows stand where their features put them, or at zero.
        interactions: all of them, the new ones included.
        added: users × items CSR of the new ones.
        user_priors: (moving users, dim) where features put the users with new interactions; None where the
            model has no user features.
        item_priors: the same for items.
        progress: told of the passes.
    """

    embeddings: Embeddings
    interactions: Interactions
    added: CSR
    user_priors: np.ndarray | None = None
    item_priors: np.ndarray | None = None
    progress: Progress = silent

    @cached_property
    def changed_users(self) -> np.ndarray:
        """The rows of users with new interactions."""
        return np.flatnonzero(np.diff(self.added.indptr))

    @cached_property
    def changed_items(self) -> np.ndarray:
        """The rows of items with new interactions."""
        return np.unique(self.added.indices)

    def grown_items(self, share: float) -> np.ndarray:
        """The rows of items of whose interactions at least this share is new."""
        new, all_ = (
            np.bincount(matrix.indices, minlength=matrix.shape[1])
            for matrix in (self.added, self.interactions.matrix)
        )
        return np.flatnonzero(new > np.maximum(0, share * all_ - 1e-9))
