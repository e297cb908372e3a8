"""Biased matrix factorisation: ratings, predicted as stars, by alternating least squares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from segue.data.interactions import Interactions
from segue.errors import DataError, SettingError
from segue.kernels import explicit as kernels
from segue.kernels import threads
from segue.models.base import ModelSpec
from segue.models.embeddings import Embeddings
from segue.models.search_space import Range
from segue.models.updates import Update
from segue.progress import Progress, silent
from segue.types import CSR
from segue.validation import at_least

UPDATES = 3  # times that an update solves for users and items in turn
ROWS = 256  # rows that a thread takes at a time


@dataclass(frozen=True)
class BiasedMF:
    """Biased matrix factorisation for explicit ratings: the weights are the ratings, and are predicted.

    Minimises over user rows x, b and item rows y, c, S being the ratings r,

        sum_S (r - mean - b_u - c_i - x_u·y_i)² + reg (sum_u |S_u|^nu |x_u|² + sum_i |S_i|^nu |y_i|²)
            + bias_reg (sum_u b_u² + sum_i c_i²)

    the model of Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems"
    (IEEE Computer 2009), with the weighted regularisation of Zhou et al. (AAIM 2008) where nu is 1.
    The vectors are [x, mean + b, 1] for users and [y, 1, c] for items, so that the inner product is the
    predicted rating. Users and items without ratings have zeros for x, y, b and c.

    Attributes:
        dim: the number of factors; the vectors are longer by two.
        iterations: passes over both sides.
        reg: the regularisation of the factors.
        reg_exponent: nu, how strongly it grows with a row's ratings.
        bias_reg: the regularisation of the biases.
        mean: what a rating is without any bias; None takes the mean of the ratings.
        seed: of the item factors' random start.
        threads: how many to use; None is all of the machine. The result is the same for any number.
    """

    dim: int = 32
    iterations: int = 16
    reg: float = 1.5
    reg_exponent: float = 0.5
    bias_reg: float = 5.0
    mean: float | None = None
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, dim=1, iterations=1, seed=0)
        at_least(self, reg=0.0, reg_exponent=0.0, bias_reg=0.0)
        if self.mean is not None and (
            isinstance(self.mean, bool)
            or not isinstance(self.mean, (int, float))
            or not np.isfinite(self.mean)
        ):
            raise SettingError(f"BiasedMF(mean={self.mean!r}) must be a finite number, or None")

    def resolved(self, interactions: Interactions) -> BiasedMF:
        """Return the same settings with the mean of the ratings filled in."""
        if self.mean is not None:
            return self
        if not len(interactions):
            raise DataError("there are no ratings to learn from")
        return replace(self, mean=float(interactions.matrix.data.mean(dtype=np.float64)))

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Embeddings:
        """Learn vectors (n, dim + 2) float32 for all users and items from the weights as ratings."""
        settings = self.resolved(interactions)
        by_user = interactions.matrix
        by_item = by_user.T.tocsr()
        n_users, n_items = by_user.shape
        start = np.random.default_rng(self.seed).standard_normal((n_items, self.dim), np.float32)
        items = np.zeros((n_items, self.dim + 1), np.float32)
        items[:, :-1] = start * np.float32(0.1 / np.sqrt(self.dim))
        users = np.zeros((n_users, self.dim + 1), np.float32)
        for iteration in range(self.iterations):
            progress("training", iteration, self.iterations)
            settings._solve(users, items, by_user)
            settings._solve(items, users, by_item)
        progress("training", self.iterations, self.iterations)
        return Embeddings(settings._user_vectors(users), _item_vectors(items))

    def prepare_fold_in(self, embeddings: Embeddings) -> RatingFoldIn:
        """Prepare for folding in many histories; the settings must be `resolved`."""
        if self.mean is None:
            raise SettingError("BiasedMF(mean=None) cannot fold in: use the settings that were `resolved`")
        return RatingFoldIn(self, np.delete(embeddings.items, -2, axis=1))

    def prepare_item_fold_in(self, embeddings: Embeddings) -> ItemRatingFoldIn:
        """Prepare the user side, for folding in items from their ratings (q × users CSR)."""
        if self.mean is None:
            raise SettingError("BiasedMF(mean=None) cannot fold in: use the settings that were `resolved`")
        rows = embeddings.users[:, :-1].copy()
        rows[:, -1] -= np.float32(self.mean)
        return ItemRatingFoldIn(self, rows)

    def update(self, update: Update) -> Embeddings:
        """Solve anew for the rows with new ratings, all others standing still, some times in turn."""
        by_user = update.interactions.matrix
        by_item = by_user.T.tocsr()[update.changed_items]
        by_user = by_user[update.changed_users]
        made = replace(
            update.embeddings, users=update.embeddings.users.copy(), items=update.embeddings.items.copy()
        )
        made.items[~made.items.any(1), -2] = 1
        blank = ~made.users.any(1)
        made.users[blank, -1], made.users[blank, -2] = 1, np.float32(cast(float, self.mean))
        for turn in range(UPDATES):
            update.progress("updating", turn, UPDATES)
            made.users[update.changed_users] = self.prepare_fold_in(made).fold_in(by_user)
            made.items[update.changed_items] = self.prepare_item_fold_in(made).fold_in(by_item)
        update.progress("updating", UPDATES, UPDATES)
        return made

    def _solve(self, solved: np.ndarray, fixed: np.ndarray, matrix: CSR) -> None:
        """Solve one side in place."""
        mean, reg, nu, bias_reg = (
            np.float32(x) for x in (self.mean, self.reg, self.reg_exponent, self.bias_reg)
        )
        indptr, indices = (
            matrix.indptr.astype(np.int64, copy=False),
            matrix.indices.astype(np.int32, copy=False),
        )

        def work(first: int, last: int) -> None:
            kernels.solve_ratings(
                solved, fixed, indptr, indices, matrix.data, mean, reg, nu, bias_reg, first, last
            )

        threads.run(work, len(solved), chunk=ROWS, threads=self.threads)

    def _user_vectors(self, rows: np.ndarray) -> np.ndarray:
        """[x, b] to [x, mean + b, 1]."""
        made = np.hstack([rows, np.ones((len(rows), 1), np.float32)])
        made[:, -2] += np.float32(self.mean)
        return made


def _item_vectors(rows: np.ndarray) -> np.ndarray:
    """[y, c] to [y, 1, c]."""
    return np.insert(rows, -1, np.float32(1), axis=1)


@dataclass(frozen=True, eq=False)
class RatingFoldIn:
    """The item side of a trained model, [y, c] a row: it finds the vector that a person's ratings lead to."""

    settings: BiasedMF
    items: np.ndarray

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Solve for histories (q × items CSR of ratings): (q, dim + 2) float32; no ratings, no bias."""
        rows = np.zeros((histories.shape[0], self.items.shape[1]), np.float32)
        self.settings._solve(rows, self.items, histories)
        return self.settings._user_vectors(rows)


@dataclass(frozen=True, eq=False)
class ItemRatingFoldIn:
    """The user side of a trained model, [x, b] a row: it finds the vector that an item's ratings lead to."""

    settings: BiasedMF
    users: np.ndarray

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Solve for the ratings of items (q × users CSR): (q, dim + 2) float32; no ratings, no bias."""
        rows = np.zeros((histories.shape[0], self.users.shape[1]), np.float32)
        self.settings._solve(rows, self.users, histories)
        return _item_vectors(rows)


SPEC = ModelSpec(
    BiasedMF,
    {
        "dim": (8, 16, 32, 64, 128),
        "iterations": Range(4, 32, log=True),
        "reg": Range(0.1, 10.0, log=True),
        "reg_exponent": Range(0.0, 1.0),
        "bias_reg": Range(0.5, 50.0, log=True),
    },
    ratings=True,
    signed_weights=True,
)
