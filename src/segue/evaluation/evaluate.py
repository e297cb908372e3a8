"""Evaluate a recommender on held-out interactions, with the rows beside it that it must beat."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.errors import DataError, SettingError
from segue.evaluation.metrics import Metrics, check_ks, measure, rating_errors
from segue.models import spec_of
from segue.models.baselines import ItemKNN, popularity
from segue.models.ease import EASE
from segue.numerics.ranks import Scorer, rank
from segue.progress import NOTHING, Progress, silent
from segue.recommender.facade import TrainedRecommender
from segue.types import CSR

log = logging.getLogger("segue")


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Mapping[str, float]):
    """The metrics of a model by name, such as `evaluation["ndcg@10"]`, and those of the rows beside it.

    Attributes:
        model: the model's metrics; `model.errors` holds the standard errors.
        beside: name to metrics of the comparison rows, over the same users.
        left_out: the number of test users without any history, who were not measured.
    """

    model: Metrics
    beside: Mapping[str, Metrics]
    left_out: int

    def __getitem__(self, name: str) -> float:
        return self.model[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.model)

    def __len__(self) -> int:
        return len(self.model)

    def __repr__(self) -> str:
        return f"Evaluation({self.model!r}, beside {', '.join(self.beside) or 'nothing'})"

    @property
    def rows(self) -> dict[str, Metrics]:
        """All rows by name, the model's first."""
        return {"model": self.model, **self.beside}

    def frame(self) -> pl.DataFrame:
        """Return a row per model and metric: model, metric, k, value, error."""
        return pl.concat(
            metrics.frame().select(pl.lit(name).alias("model"), pl.all())
            for name, metrics in self.rows.items()
        )


def evaluate(
    recommender: TrainedRecommender,
    test: Interactions,
    k: int | Iterable[int] = (5, 10, 20),
    *,
    exclude_seen: bool = True,
    history: Interactions | None = None,
    baselines: Iterable[str] = ("popularity", "item-knn"),
    progress: Progress = silent,
) -> Evaluation:
    """Measure how well the held-out interactions are ranked, over the whole catalogue.

    Users without any history are left out (nothing personal can be said of them) and counted;
    held-out items that the model does not know count as missed.

    Args:
        recommender: what is to be measured.
        test: the held-out interactions; ids are matched with the model's.
        k: the depths of the metrics.
        exclude_seen: leave the training items out of the ranking; False is LightFM's protocol.
        history: what is known of the users instead of their training interactions: their vectors are
            folded in from it, and its items are left out of the ranking (strong generalisation).
        baselines: the rows beside the model, of "popularity", "item-knn", "ease" (which is for up to some
            ten thousand items), and "biases": what the model's item biases give without its vectors (with
            features, the sums of the features' biases).
        progress: told of the users ranked so far.

    Raises `DataError` where nobody is left to measure, `SettingError` for a baseline that does not exist and
    a k that is no whole number of at least 1.
    """
    depths = check_ks(k)
    chosen = _choose(baselines)
    held = hold(recommender, test, history)

    def measured(name: str, scorer: Scorer) -> Metrics:
        return held.measured(scorer, depths, name, exclude_seen=exclude_seen, progress=progress)

    items = recommender.embeddings.items
    if history is None:
        model = measured("model", lambda part: recommender.embeddings.users[held.rows[part]] @ items.T)
    else:
        model = measured("model", lambda part: recommender.fold_in(held.known[part]) @ items.T)
    beside = {name: measured(name, BASELINES[name](recommender, held.known, progress)) for name in chosen}
    return Evaluation(model, beside, held.left_out)


@dataclass(frozen=True, eq=False)
class Held:
    """Held-out interactions as a model knows them.

    Attributes:
        users: (u,) the test's users who can be measured, as rows of the arrays below.
        rows: (q,) the model's row of each user of the test, -1 where it has none.
        truth: q × items CSR, what was held out.
        known: q × items CSR, what they had before.
        unknown: (q,) how many more were held out that the model does not know.
        left_out: how many users have no history.
    """

    users: np.ndarray
    rows: np.ndarray
    truth: CSR
    known: CSR
    unknown: np.ndarray
    left_out: int

    def measured(
        self,
        scorer: Scorer,
        depths: tuple[int, ...],
        name: str,
        *,
        exclude_seen: bool = True,
        progress: Progress = silent,
    ) -> Metrics:
        """The metrics of a scorer of rows (q,) of `truth`, named in the progress."""

        def report(what: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
            progress(f"{what} ({name})", done, total)

        seen, missing = self.known if exclude_seen else None, self.unknown[self.users]
        ranks = rank(scorer, self.users, self.truth, seen, k=max(depths), unknown=missing, progress=report)
        return measure(ranks, depths)


def hold(recommender: TrainedRecommender, test: Interactions, history: Interactions | None = None) -> Held:
    """Match held-out interactions with a model; raises `DataError` where nobody is left to measure."""
    rows = recommender.users.rows(test.users.series)  # of the test's users in the model
    known = (
        _known(recommender, rows) if history is None else _aligned(history, test.users, recommender.items)[0]
    )
    truth, unknown = _aligned(test, test.users, recommender.items)
    tested = np.diff(test.matrix.indptr) > 0
    informed = np.diff(known.indptr) > 0
    users = np.flatnonzero(tested & informed)
    left_out = int((tested & ~informed).sum())
    if not len(users):
        raise DataError(
            f"none of the {tested.sum():,} users of the test data has a history to recommend from; "
            "check that the ids are of the same kind as the model's, or pass history=",
            arguments=("history",),
        )
    if left_out:
        log.info("%s of %s test users have no history and are left out", f"{left_out:,}", f"{tested.sum():,}")
    return Held(users, rows, truth, known, unknown, left_out)


@dataclass(frozen=True)
class RatingErrors:
    """How far predicted ratings are from given ones.

    Attributes:
        rmse: the root of the mean squared error.
        mae: the mean absolute error.
        pairs: how many ratings were predicted.
        left_out: how many more were of users or items that the model does not know.
    """

    rmse: float
    mae: float
    pairs: int
    left_out: int


def evaluate_ratings(
    recommender: TrainedRecommender, test: Interactions, *, history: Interactions | None = None
) -> RatingErrors:
    """Measure the ratings that a `BiasedMF` predicts against the weights of held-out interactions.

    With `history` the users' vectors are folded in from it instead of those that were trained. Raises
    `SettingError` for a model that predicts no ratings, `DataError` where no pair is known.
    """
    if not spec_of(recommender.settings.model).ratings:
        raise SettingError(
            f"{recommender.settings.model!r} predicts no ratings; fit a BiasedMF for RMSE and MAE"
        )
    pairs = _aligned(test, test.users, recommender.items)[0].tocoo()
    if history is None:
        rows = recommender.users.rows(test.users.series)
        vectors = recommender.embeddings.users
    else:
        rows = np.arange(len(test.users))
        vectors = recommender.fold_in(_aligned(history, test.users, recommender.items)[0])
    known = rows[pairs.row] >= 0
    if not known.any():
        raise DataError(
            f"none of the {len(test):,} held-out ratings is of a user and an item that the model knows; "
            "check that the ids are of the same kind as the model's"
        )
    items = recommender.embeddings.items[pairs.col[known]]
    predicted = np.einsum("ij,ij->i", vectors[rows[pairs.row[known]]], items)
    rmse, mae = rating_errors(predicted, pairs.data[known])
    return RatingErrors(rmse, mae, int(known.sum()), len(test) - int(known.sum()))


def _known(recommender: TrainedRecommender, rows: np.ndarray) -> CSR:
    """The training interactions of model rows (q × items CSR); nothing for the row -1."""
    return recommender.histories(rows)


def _aligned(given: Interactions, users: IdMap, items: IdMap) -> tuple[CSR, np.ndarray]:
    """The interactions of `users` with `items` as a CSR, and how many more each user has with others."""
    pairs = given.matrix.tocoo()
    row = users.rows(given.users.series)[pairs.row]
    column = items.rows(given.items.series)[pairs.col]
    there = (row >= 0) & (column >= 0)
    matrix = sp.csr_matrix((pairs.data[there], (row[there], column[there])), (len(users), len(items)))
    matrix.sort_indices()
    return matrix, np.bincount(row[(row >= 0) & (column < 0)], minlength=len(users))


def _popularity_scorer(recommender: TrainedRecommender, known: CSR, progress: Progress) -> Scorer:
    counts = popularity(recommender.interactions).ravel()
    return lambda rows: np.tile(counts, (len(rows), 1))


def _knn_scorer(recommender: TrainedRecommender, known: CSR, progress: Progress) -> Scorer:
    training = Interactions(recommender.interactions, recommender.users, recommender.items)
    similarity = ItemKNN().fit(training, progress=progress)
    return lambda rows: similarity.scores(known[rows])


def _ease_scorer(recommender: TrainedRecommender, known: CSR, progress: Progress) -> Scorer:
    training = Interactions(recommender.interactions, recommender.users, recommender.items)
    similarity = EASE().fit(training, progress=progress)
    return lambda rows: similarity.scores(known[rows])


def _bias_scorer(recommender: TrainedRecommender, known: CSR, progress: Progress) -> Scorer:
    """What a model's biases say by themselves, the same for everybody."""
    embeddings = recommender.embeddings
    if not embeddings.biases:
        raise SettingError(f"{recommender.settings.model!r} has no biases to measure by themselves")
    biases = embeddings.items[:, -1]
    return lambda rows: np.tile(biases, (len(rows), 1))


BASELINES = {
    "popularity": _popularity_scorer,
    "item-knn": _knn_scorer,
    "ease": _ease_scorer,
    "biases": _bias_scorer,
}


def _choose(baselines: Iterable[str]) -> list[str]:
    names = list(baselines)
    for name in names:
        if name not in BASELINES:
            raise SettingError(f"there is no baseline {name!r}; there are {', '.join(BASELINES)}")
    return names
