"""A validation split and a metric: how good settings are."""

from __future__ import annotations

import logging

import numpy as np

from segue.data.interactions import Interactions
from segue.errors import DataError, SettingError
from segue.evaluation.metrics import measure, rating_errors
from segue.models import Embeddings, Model
from segue.numerics.ranks import rank
from segue.progress import Progress

HELD = 0.1  # the share of the interactions held out to measure settings
FEW = 100  # with fewer users to measure, a split by time says too little
MEASURED = 10_000  # users who are measured, at most
SPLITS = ("time", "last", "random")
RATINGS = ("rmse", "mae")  # metrics where lower is better
log = logging.getLogger("segue")


def split_off(
    interactions: Interactions, by: str | None, seed: int, share: float = HELD
) -> tuple[Interactions, Interactions, str]:
    """Return the training part, the validation part, and the kind of split; see `tune` for `by`.

    Raises `SettingError` for a split that holds out whole users, or that does not exist.
    """
    if by is not None and by not in SPLITS:
        raise SettingError(
            f"by={by!r} holds out nothing to tune on; there are {', '.join(map(repr, SPLITS))}",
            arguments=("by",),
        )
    if by is None and interactions.times is None:
        by = "random"
    if by is None:
        train, valid = interactions.split(share, by="time", seed=seed)
        users = len(users_in_both(train, valid))
        if users >= FEW:
            return train, valid, "time"
        log.info(
            "a split by time leaves %s users to measure: holding out each user's last interactions instead",
            users,
        )
        by = "last"
    return *interactions.split(share, by=by, seed=seed), by


class Measuring:
    """Trains settings on one part of the data and measures them on the other."""

    def __init__(self, train: Interactions, valid: Interactions, metric: str, seed: int) -> None:
        self.train, self.valid, self.metric = train, valid, metric
        users = users_in_both(train, valid)
        if not len(users):
            raise DataError(
                f"none of the {len(valid):,} interactions held out is of a user with others to learn from: "
                "there is too little data, or by='time' held out only new users",
                arguments=("by",),
            )
        self.users = np.sort(np.random.default_rng(seed).permutation(users)[:MEASURED])
        self.lower = metric in RATINGS

    def better(self, value: float, than: float) -> bool:
        """Whether a value beats another."""
        return value < than if self.lower else value > than

    def __call__(self, settings: Model, progress: Progress) -> tuple[float, float]:
        """Train with settings; return the metric and its standard error."""
        embeddings = settings.resolved(self.train).fit(self.train, progress=progress)
        if self.lower:
            value, error = self._rated(embeddings), float("nan")
        else:
            value, error = self._ranked(embeddings, progress)
        if not np.isfinite(value):
            raise DataError(f"{self.metric} is {value}: the model diverged, or there is nothing to measure")
        return value, error

    def _ranked(self, embeddings: Embeddings, progress: Progress) -> tuple[float, float]:
        depth = int(self.metric.partition("@")[2] or 1)
        ranks = rank(
            lambda rows: embeddings.users[rows] @ embeddings.items.T,
            self.users, self.valid.matrix, self.train.matrix, k=depth, progress=progress,
        )  # fmt: skip
        metrics = measure(ranks, depth)
        return float(metrics[self.metric]), float(metrics.errors[self.metric])

    def _rated(self, embeddings: Embeddings) -> float:
        pairs = self.valid.matrix.tocoo()
        predicted = np.einsum("ij,ij->i", embeddings.users[pairs.row], embeddings.items[pairs.col])
        return rating_errors(predicted, pairs.data)[RATINGS.index(self.metric)]


def users_in_both(train: Interactions, valid: Interactions) -> np.ndarray:
    """The rows of the users with both training and held-out interactions."""
    return np.flatnonzero((np.diff(train.matrix.indptr) > 0) & (np.diff(valid.matrix.indptr) > 0))
