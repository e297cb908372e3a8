"""User vectors of histories that were not in the training data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from segue.kernels.arrays import readonly
from segue.kernels.sgd import Pairs, Side
from segue.models.embeddings import Embeddings
from segue.models.sgd.parameters import ITEM_BIAS, USER_BIAS, join_columns, new_side, split_columns
from segue.models.sgd.passes import Sampling
from segue.models.sgd.settings import SGDSettings
from segue.models.sgd.training import learn
from segue.types import CSR

PASSES = 20  # passes over a history to learn its vector


@dataclass(frozen=True, eq=False)
class SGDFoldIn:
    """Computes user vectors against the fixed item vectors of a trained model.

    Attributes:
        settings: settings of the training.
        embeddings: the result of the training.
    """

    settings: SGDSettings
    embeddings: Embeddings

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Learn user vectors from histories as training does, with fixed item vectors.

        Args:
            histories: q × items CSR.

        Returns (q, dim) float32, zeros for empty histories. A vector depends on its own history only.
        """
        settings = replace(self.settings, schedule="adagrad", threads=1)
        vectors = np.zeros((histories.shape[0], self.embeddings.dim), np.float32)
        for row in range(histories.shape[0]):
            first, last = histories.indptr[row : row + 2]
            if first < last:
                vectors[row] = self._vector(
                    settings, histories.indices[first:last], histories.data[first:last]
                )
        return vectors

    def _vector(self, settings: SGDSettings, items: np.ndarray, weights: np.ndarray) -> np.ndarray:
        order = np.argsort(items)
        items, weights = items[order].astype(np.int32), weights[order] / np.abs(weights).mean()
        rng = np.random.default_rng(settings.seed)
        indptr = np.array([0, len(items)])
        pairs = Pairs(readonly(items), readonly(weights), readonly(indptr), np.zeros(PASSES, np.int64))
        user = new_side(settings, 1, None, np.ones(1), (np.zeros((1, settings.dim)), np.zeros(1)), rng)
        learn(settings, self._sampling, pairs, user, self._items, settings.seed, move_items=False)
        rows, _ = join_columns(user.values(), None, bias_at=USER_BIAS)
        return np.asarray(rows[0])

    @cached_property
    def _items(self) -> Side:
        values = split_columns(self.embeddings.items, bias_at=ITEM_BIAS)
        settings, count = replace(self.settings, schedule="adagrad"), len(self.embeddings.items)
        return new_side(settings, count, None, np.ones(1), values, np.random.default_rng())

    @cached_property
    def _sampling(self) -> Sampling:
        return self.settings.sampling(readonly(np.arange(len(self.embeddings.items), dtype=np.int32)))
