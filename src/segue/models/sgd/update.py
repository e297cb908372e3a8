"""Updates: learn rows with new interactions while all other rows are fixed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from segue.kernels.arrays import readonly
from segue.kernels.sgd import Pairs, Side
from segue.models.embeddings import Embeddings
from segue.models.sgd.parameters import ITEM_BIAS, USER_BIAS, new_side, pairs_of, split_columns
from segue.models.sgd.passes import Sampling
from segue.models.sgd.settings import SGDSettings
from segue.models.sgd.training import learn
from segue.models.updates import GROWN, Update

EPOCHS = 20
FIXED = 1e30  # sum of squared gradients of a fixed row; fast square roots do not support infinity


def update_embeddings(settings: SGDSettings, update: Update) -> Embeddings:
    """Learn the users with new interactions and the items with a large share of new interactions.

    Other rows are fixed by a sum of squared gradients so large that adagrad's steps vanish. If features were
    learned, a row starts at the sum of its features and moves by itself. A second pass of each epoch draws
    the moving items, and only these, as negatives for users who do not have them, as often as training would
    draw them; otherwise the new positives would only push them up.
    """
    training = UpdateTraining.prepare(replace(settings, schedule="adagrad"), update)
    for epoch in range(EPOCHS):
        update.progress("updating", epoch, EPOCHS)
        training.learn_positives()
        training.learn_negatives()
    update.progress("updating", EPOCHS, EPOCHS)
    return training.embeddings()


@dataclass(frozen=True, eq=False)
class UpdateTraining:
    """The state of an update: the parameters, of which the kernels change the moving rows.

    Attributes:
        update: the new interactions and the earlier embeddings.
        settings: settings of the steps.
        moving: rows of users and of items that move.
        users, items: their parameters.
        of_users: all interactions of the moving users.
        of_items: the interactions of other users with moving items; further interactions of these users have
            weight 0. For k-OS WARP, of all users.
        of_others: all interactions of the users that do not move.
        sampling: the loss, with all items to draw from.
        sampling_moving: the loss with the moving items to draw from, without k-OS, which rarely takes them.
        rng: random generator of the orders and seeds.
    """

    update: Update
    settings: SGDSettings
    moving: tuple[np.ndarray, np.ndarray]
    users: Side
    items: Side
    of_users: Pairs
    of_items: Pairs
    of_others: Pairs
    sampling: Sampling
    sampling_moving: Sampling
    rng: np.random.Generator

    @classmethod
    def prepare(cls, settings: SGDSettings, update: Update) -> UpdateTraining:
        """Select the moving rows and their interactions."""
        matrix, embeddings = update.interactions.matrix, update.embeddings
        moving = update.changed_users, update.grown_items(GROWN)
        rng = np.random.default_rng(settings.seed)
        users = moving_side(settings, embeddings.users, USER_BIAS, moving[0], rng)
        items = moving_side(settings, embeddings.items, ITEM_BIAS, moving[1], rng)
        pairs = pairs_of(matrix)
        is_moving_user, is_moving_item = np.zeros(matrix.shape[0], bool), np.zeros(matrix.shape[1], bool)
        is_moving_user[moving[0]], is_moving_item[moving[1]] = True, True
        popular = settings.negative_sampling == "popular"
        pool = readonly((pairs.items if popular else np.arange(matrix.shape[1])).astype(np.int32))
        sampling = settings.sampling(pool)
        on_moving_item = is_moving_item[pairs.items]
        has_moving_item = np.diff(np.concatenate([[0], np.cumsum(on_moving_item)])[pairs.indptr]) > 0
        return cls(
            update,
            settings,
            moving,
            users,
            items,
            pairs._replace(order=np.flatnonzero(is_moving_user)),
            pairs._replace(
                weights=readonly(np.where(on_moving_item, pairs.weights, np.float32(0))),
                order=np.flatnonzero(has_moving_item if sampling.k else has_moving_item & ~is_moving_user),
            ),
            pairs._replace(order=np.flatnonzero(~is_moving_user)),
            sampling,
            sampling._replace(pool=readonly(pool[is_moving_item[pool]]), k=0, n=1),
            rng,
        )

    def learn_positives(self) -> None:
        """Learn the interactions of moving users and of moving items."""
        self._learn(self.sampling, self.of_users)
        self._learn(self.sampling._replace(k=0, n=1), self.of_items)

    def learn_negatives(self) -> None:
        """Draw the moving items as negatives of other users, in proportion to their share of the pool."""
        sampling = self.sampling_moving
        if not len(sampling.pool) or not sampling.draws or not len(self.of_others.order):
            return
        share = len(sampling.pool) / len(self.sampling.pool)
        order = self.rng.permutation(self.of_others.order)
        sizes = np.cumsum(np.diff(self.of_others.indptr)[order])
        count = int(np.searchsorted(sizes, share * sizes[-1])) + 1
        self._learn(sampling, self.of_others._replace(order=order[:count]))

    def _learn(self, sampling: Sampling, pairs: Pairs) -> None:
        if len(pairs.order):
            self.rng.shuffle(pairs.order)
            seed = int(self.rng.integers(2**62))
            learn(self.settings, sampling, pairs, self.users, self.items, seed)

    def embeddings(self) -> Embeddings:
        """Return the earlier embeddings with new values for the moving rows."""
        earlier = self.update.embeddings
        return replace(
            earlier,
            users=_with_rows(earlier.users, self.users, self.moving[0], USER_BIAS),
            items=_with_rows(earlier.items, self.items, self.moving[1], ITEM_BIAS),
        )


def _with_rows(rows: np.ndarray, side: Side, moving: np.ndarray, bias_at: int) -> np.ndarray:
    """Return a copy of rows of embeddings with the values of the moving ones from their parameters."""
    vectors, biases = side.values()
    changed, dim = rows.copy(), vectors.shape[1]
    changed[moving, :dim], changed[moving, dim + bias_at] = vectors[moving], biases[moving]
    changed[moving, dim + 1 - bias_at] = 1
    return changed


def moving_side(
    settings: SGDSettings, rows: np.ndarray, bias_at: int, moving: np.ndarray, rng: np.random.Generator
) -> Side:
    """Return the parameters of rows of embeddings, with all but the moving rows fixed.

    Moving rows of zeros start at random.
    """
    dim = settings.dim
    vectors, biases = split_columns(rows, bias_at=bias_at)
    vectors = vectors.copy()
    empty = moving[~vectors[moving].any(1)]
    vectors[empty] = (rng.random((len(empty), dim), np.float32) - np.float32(0.5)) / dim
    side = new_side(settings, len(rows), None, np.ones(1), (vectors, biases), rng)
    fixed = np.ones(len(rows), bool)
    fixed[moving] = False
    side.vectors[fixed, 1], side.biases[fixed, 1] = FIXED, FIXED
    return side
