"""Training with early stopping and warm start."""

from __future__ import annotations

import logging

import numpy as np

from segue.data.features import Features
from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.errors import DataError, SettingError
from segue.kernels.arrays import readonly
from segue.kernels.sgd import Pairs, Side
from segue.models.checkpoint import RANDOM, random_of, restore
from segue.models.checks import check_features
from segue.models.embeddings import Embeddings
from segue.models.sgd.parameters import (
    ITEM_BIAS,
    USER_BIAS,
    Values,
    join_columns,
    new_side,
    pairs_of,
    split_columns,
)
from segue.models.sgd.passes import Sampling, one_pass
from segue.models.sgd.settings import SGDSettings
from segue.numerics.ranks import ndcg, rank
from segue.progress import Progress
from segue.types import CSR

VALIDATED, DEPTH = 2000, 10  # maximum number of users, and depth, of the NDCG that stops training
log = logging.getLogger("segue")


def learn(
    settings: SGDSettings,
    sampling: Sampling,
    pairs: Pairs,
    users: Side,
    items: Side,
    seed: int,
    *,
    move_items: bool = True,
) -> np.ndarray:
    """Learn once from all pairs with the rates of the settings; items are unchanged without `move_items`.

    Returns the sum of the losses, the number of violations and the number of steps.
    """
    rate = settings.learning_rate if settings.schedule == "adagrad" else 1.0
    rates = (
        np.array([rate, settings.rho, settings.epsilon, settings.user_reg, 0], np.float32),
        np.array([rate * move_items, settings.rho, settings.epsilon, settings.item_reg, 0], np.float32),
    )
    return one_pass(sampling, pairs, users, items, rates, seed, settings.threads)


class Training:
    """The state of one training: the parameters of both sides, which the kernels change in place."""

    def __init__(
        self,
        settings: SGDSettings,
        interactions: Interactions,
        user_features: Features | None,
        item_features: Features | None,
        start: Embeddings | None,
    ) -> None:
        self.settings, self.interactions = settings, interactions
        self.rng = np.random.default_rng(settings.seed)
        matrix = interactions.matrix
        active = np.diff(matrix.indptr) > 0, np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0
        self.idle_users, self.idle_items = ~active[0], ~active[1]
        self.features = (
            _feature_matrix(user_features, interactions.users),
            _feature_matrix(item_features, interactions.items),
        )
        values = _start_values(start, settings, matrix.shape, self.features)
        self.users, self.items = (
            new_side(settings, count, features, active_rows, start_values, self.rng)
            for count, features, active_rows, start_values in zip(
                matrix.shape, self.features, active, values, strict=True
            )
        )
        self.pairs = pairs_of(matrix)
        if settings.negative_sampling == "popular":
            pool = self.pairs.items
        elif item_features is None:
            pool = readonly(np.arange(matrix.shape[1], dtype=np.int32))
        else:  # items known by their features only are not negatives
            pool = readonly(np.flatnonzero(active[1]).astype(np.int32))
        self.sampling = settings.sampling(pool)
        if start is not None and start.state is not None:
            restore(start.state, self.rng, **self._arrays())

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that training changes."""
        return {
            "user_vectors": self.users.vectors, "user_biases": self.users.biases,
            "item_vectors": self.items.vectors, "item_biases": self.items.biases,
            "order": self.pairs.order,
        }  # fmt: skip

    def state(self) -> dict[str, np.ndarray]:
        """Return the training state for exact resumption."""
        return {**self._arrays(), RANDOM: random_of(self.rng)}

    def run(self, validation: Interactions | None, progress: Progress) -> Embeddings:
        """Train, stop early on the validation data if there are any, and return the best embeddings."""
        best, best_score, epochs_since_best = None, -np.inf, 0
        epochs = self.settings.epochs
        progress("training", 0, epochs)
        for epoch in range(epochs):
            self.rng.shuffle(self.pairs.order)
            seed = int(self.rng.integers(2**62))
            tally = learn(self.settings, self.sampling, self.pairs, self.users, self.items, seed)
            means = self._means(tally, epoch)
            if validation is not None:
                score = means[f"ndcg@{DEPTH}"] = self._score(validation)
                epochs_since_best += 1
                if score > best_score:
                    best, best_score, epochs_since_best = self._values(), score, 0
            progress("training", epoch + 1, epochs, means)
            if epochs_since_best >= self.settings.patience:
                log.info(
                    "stopped after %s epochs, the best was epoch %s", epoch + 1, epoch + 1 - epochs_since_best
                )
                progress("training", epochs, epochs, means)
                break
        return self._embeddings(*(best or self._values()))

    def _means(self, tally: np.ndarray, epoch: int) -> dict[str, float]:
        loss, violations, steps = tally
        if not np.isfinite(loss) or not all(
            np.isfinite(side.biases).all() for side in (self.users, self.items)
        ):
            raise SettingError(
                f"{type(self.settings).__name__}(learning_rate={self.settings.learning_rate}) diverged in "
                f"epoch {epoch + 1}: the loss is {loss}; take a lower learning_rate, or smaller weights",
                arguments=("learning_rate",),
            )
        steps = max(1.0, steps)
        return {"loss": float(loss / steps), "violations": float(violations / steps)}

    def _score(self, validation: Interactions) -> float:
        """Return the NDCG of the held-out items in the full ranking, over a sample of the users."""
        vectors = self._embeddings(*self._values())
        held = np.flatnonzero(np.diff(validation.matrix.indptr))
        users = np.random.default_rng(self.settings.seed).permutation(held)[:VALIDATED]
        history = self.interactions.matrix
        ranks = rank(
            lambda rows: vectors.users[rows] @ vectors.items.T, users, validation.matrix, history, k=DEPTH
        )
        return float(ndcg(ranks, DEPTH).mean())

    def _values(self) -> tuple[Values, Values]:
        return self.users.values(), self.items.values()

    def _embeddings(self, user_values: Values, item_values: Values) -> Embeddings:
        users, user_features = join_columns(user_values, self.features[0], bias_at=USER_BIAS)
        items, item_features = join_columns(item_values, self.features[1], bias_at=ITEM_BIAS)
        if self.features[0] is None:
            users[self.idle_users] = 0
        if self.features[1] is None and self.settings.negative_sampling == "popular":
            items[self.idle_items] = 0
        return Embeddings(users, items, 2, user_features, item_features)


def check_validation(interactions: Interactions, validation: Interactions | None) -> None:
    """Raise `DataError` unless the validation data are of the same users and items and not empty."""
    if validation is None:
        return
    if interactions.users != validation.users or interactions.items != validation.items:
        raise DataError(
            f"validation ({validation!r}) must have the users and items of the training data "
            f"({interactions!r}): split one data set"
        )
    if not len(validation):
        raise DataError("there are no interactions in validation")


def _start_values(
    start: Embeddings | None,
    settings: SGDSettings,
    shape: tuple[int, int],
    features: tuple[CSR | None, CSR | None],
) -> tuple[Values | None, Values | None]:
    """Return the values of users and items to start from, None for random ones."""
    if start is None:
        return None, None
    user_rows, item_rows = (
        own if matrix is None else by_feature
        for matrix, own, by_feature in (
            (features[0], start.users, start.user_features),
            (features[1], start.items, start.item_features),
        )
    )
    return (
        _checked_start(start, user_rows, "user", shape[0], features[0], settings.dim, USER_BIAS),
        _checked_start(start, item_rows, "item", shape[1], features[1], settings.dim, ITEM_BIAS),
    )


def _checked_start(
    start: Embeddings,
    rows: np.ndarray | None,
    side: str,
    count: int,
    features: CSR | None,
    dim: int,
    bias_at: int,
) -> Values:
    expected = (count if features is None else features.shape[1], dim + 2)
    if start.biases != 2 or rows is None or rows.shape != expected:
        shape = None if rows is None else rows.shape
        noun = f"{side}s" if features is None else f"{side} features"
        raise DataError(
            f"start has {noun} of the shape {shape}, but {expected} is expected ({dim} dimensions and "
            "2 of biases): continue with the same settings, interactions and features"
        )
    return split_columns(rows, bias_at=bias_at)


def _feature_matrix(features: Features | None, ids: IdMap) -> CSR | None:
    if features is None:
        return None
    check_features(features, ids)
    return features.matrix
