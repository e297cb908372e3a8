"""New rows for the models of stochastic gradient descent: they are learned while the others stand still."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from segue.kernels.arrays import readonly
from segue.models.embeddings import Embeddings
from segue.models.settings import check_implicit
from segue.models.sgd.losses import (
    FOLDED,
    KOSWARP,
    SGD,
    WARP,
    Logistic,
    Pairs,
    Side,
    learn,
    new_side,
    pairs_of,
)
from segue.models.updates import GROWN, Update

STILL = 1e30  # sum of squared gradients of a row that stands still; infinity is none for fast square roots


def update(settings: SGD, change: Update) -> Embeddings:
    """Learn the users with new interactions and the items that a good share is new of, in some passes.

    A row stands still because its sum of squared gradients is so large that adagrad's steps vanish.
    Where features were learned, a row starts at their sum and moves by itself. A second pass of each epoch
    draws the moving items, and them only, against interactions of people who do not have them, as often
    as training would draw them; without it they would be pushed up alone.
    """
    check_implicit(change.interactions, signed=isinstance(settings, Logistic))
    passes = Passes.of(replace(settings, schedule="adagrad"), change)
    for epoch in range(FOLDED):
        change.progress("updating", epoch, FOLDED)
        passes.upwards()
        passes.downwards()
    change.progress("updating", FOLDED, FOLDED)
    return passes.embeddings()


def plain(settings: SGD) -> SGD:
    """The settings for items: WARP instead of k-OS, which seldom takes the item that moves."""
    if isinstance(settings, KOSWARP):
        return WARP(**{field.name: getattr(settings, field.name) for field in fields(WARP)})
    return settings


@dataclass(frozen=True, eq=False)
class Passes:
    """The parameters of an update, of which the kernels change those that move.

    Attributes:
        change: what has changed.
        settings: of the steps.
        moving: the rows of users and of items that move.
        users, items: their parameters.
        stirred: the users that move, with all their interactions.
        near: the others who had moving items, whose other interactions have the weight 0; of k-OS WARP, all
            who had them.
        far: all interactions, ordered by the users that stand still.
        pools: what is drawn from in the two passes.
        rng: of the orders and seeds.
    """

    change: Update
    settings: SGD
    moving: tuple[np.ndarray, np.ndarray]
    users: Side
    items: Side
    stirred: Pairs
    near: Pairs
    far: Pairs
    pools: tuple[np.ndarray, np.ndarray]
    rng: np.random.Generator

    @classmethod
    def of(cls, settings: SGD, change: Update) -> Passes:
        """Set everything up."""
        matrix, learned = change.interactions.matrix, change.embeddings
        moving = change.moving_users, change.grown_items(GROWN)
        rng = np.random.default_rng(settings.seed)
        users = moving_side(settings, learned.users, 1, moving[0], rng)
        items = moving_side(settings, learned.items, 0, moving[1], rng)
        all_ = pairs_of(matrix)
        stirs, moves = np.zeros(matrix.shape[0], bool), np.zeros(matrix.shape[1], bool)
        stirs[moving[0]], moves[moving[1]] = True, True
        taken = moves[all_.items]
        had = np.diff(np.concatenate([[0], np.cumsum(taken)])[all_.indptr]) > 0
        near = had if isinstance(settings, KOSWARP) else had & ~stirs
        by_item = all_._replace(
            weights=readonly(np.where(taken, all_.weights, np.float32(0))), order=np.flatnonzero(near)
        )
        everything = all_.items if settings.negatives == "popular" else np.arange(matrix.shape[1])
        everything = readonly(everything.astype(np.int32))
        stirred, far = (all_._replace(order=np.flatnonzero(some)) for some in (stirs, ~stirs))
        pools = everything, readonly(everything[moves[everything]])
        return cls(change, settings, moving, users, items, stirred, by_item, far, pools, rng)

    def upwards(self) -> None:
        """Pass over the interactions in which somebody moves."""
        self._learn(self.settings, self.stirred, self.pools[0])
        self._learn(plain(self.settings), self.near, self.pools[0])

    def downwards(self) -> None:
        """Draw the moving items against others' interactions, as many as their share in the draws."""
        if not len(self.pools[1]) or not self.settings.draws() or not len(self.far.order):
            return
        share = len(self.pools[1]) / len(self.pools[0])
        order = self.rng.permutation(self.far.order)
        sizes = np.cumsum(np.diff(self.far.indptr)[order])
        some = int(np.searchsorted(sizes, share * sizes[-1])) + 1
        self._learn(plain(self.settings), self.far._replace(order=order[:some]), self.pools[1])

    def _learn(self, settings: SGD, pairs: Pairs, pool: np.ndarray) -> None:
        if len(pairs.order):
            self.rng.shuffle(pairs.order)
            learn(settings, pairs, self.users, self.items, pool, int(self.rng.integers(2**62)))

    def embeddings(self) -> Embeddings:
        """The vectors as they were, but for those that moved."""
        learned = self.change.embeddings
        made = []
        for rows, side, some, one in (
            (learned.users, self.users, self.moving[0], 1),
            (learned.items, self.items, self.moving[1], 0),
        ):
            vectors, biases = side.values()
            changed, dim = rows.copy(), vectors.shape[1]
            changed[some, :dim], changed[some, dim + 1 - one], changed[some, dim + one] = (
                vectors[some], biases[some], 1,
            )  # fmt: skip
            made.append(changed)
        return replace(learned, users=made[0], items=made[1])


def moving_side(settings: SGD, rows: np.ndarray, one: int, moving: np.ndarray, rng: Any) -> Side:
    """Parameters of rows [x, b, 1] or [y, 1, b], of which all but `moving` stand still."""
    dim = settings.dim
    vectors = rows[:, :dim].copy()
    blank = moving[~vectors[moving].any(1)]
    vectors[blank] = (rng.random((len(blank), dim), np.float32) - np.float32(0.5)) / dim
    side = new_side(settings, len(rows), None, np.ones(1), (vectors, rows[:, dim + 1 - one]), rng)
    still = np.ones(len(rows), bool)
    still[moving] = False
    side.vectors[still, 1], side.biases[still, 1] = STILL, STILL
    return side
