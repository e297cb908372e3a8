"""All models beside each other: Recall@20, NDCG@20, seconds of training; and errors of predicted ratings.

    python benchmarks/models.py [--data gowalla amazon-book ml-latest-small] [--models ials contrastive …]

Two threads each, everything compiled before. cpu_seconds are of both processors together, which others
on the machine disturb less. Full ranking, the training items left out. MovieLens small is what was rated
4 and more, parted at random 80 to 20; its ratings are parted alike. EASE is left out where it would take
more items than it allows. With scikit-surprise installed, its SVD and baseline stand beside the ratings.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import segue
from data import find_data, load_split
from segue.data.interactions import Interactions
from segue.evaluation.metrics import measure, rating_errors
from segue.numerics.ranks import rank

MODELS: dict[str, Any] = {
    "popularity": segue.Popularity(),
    "item-knn": segue.ItemKNN(threads=2),
    "ease": segue.EASE(threads=2),
    "ials": segue.IALS(threads=2),
    "ials-256": segue.IALS(dim=256, iterations=8, threads=2),
    "svdae": segue.SVDAE(dim=1024, threads=2),
    "blend": segue.Blend(threads=2),
    "blend-512": segue.Blend(dim=512, threads=2),
    "item2vec": segue.Item2Vec(threads=2),
    "contrastive": segue.Contrastive(threads=2),
    "contrastive-256": segue.Contrastive(dim=256, threads=2),
}
EPOCHS = {"gowalla": 12, "amazon-book": 12}  # of Item2Vec, which needs fewer where there is more to read
SETS = ("gowalla", "amazon-book", "ml-latest-small")
STARS = (0.5, 5.0)


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--data", nargs="+", default=SETS, choices=SETS)
    arguments.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    given = arguments.parse_args()
    small = segue.data.simulate(100, 80, 1500)
    for name in given.models:
        MODELS[name].fit(small)
    rows: list[dict[str, Any]] = []
    for data in given.data:
        train, test = ranked(data)
        models = [one for one in given.models if one != "ease" or len(train.items) <= MODELS[one].max_items]
        for name in models:
            settings = MODELS[name]
            if isinstance(settings, segue.Item2Vec):
                settings = replace(settings, epochs=EPOCHS.get(data, settings.epochs))
            rows.append({"data": data, "model": name, **row(settings, train, test)})
            print(rows[-1], flush=True)
    errors = ratings() if "ml-latest-small" in given.data else []
    for made in (rows, errors):
        if made:
            Console().print(table(made))
    print(json.dumps({"ranking": rows, "ratings": errors}))


def ranked(name: str) -> tuple[Interactions, Interactions]:
    """The training and test part of a data set."""
    if name != "ml-latest-small":
        return load_split(name)
    return segue.read_interactions(find_data(name), min_weight=4.0).split(test=0.2, by="random", seed=0)


def row(settings: Any, train: Interactions, test: Interactions) -> dict[str, Any]:
    """Train a model and rank everything for everybody."""
    started, worked = time.perf_counter(), time.process_time()
    with threadpool_limits(2, "blas"):
        made = settings.fit(train)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked

    def scores(users: np.ndarray) -> np.ndarray:
        dense: np.ndarray
        if isinstance(made, segue.Embeddings):
            dense = made.users[users] @ made.items.T
        else:
            dense = made.scores(train.matrix[users])
        return dense

    found = measure(rank(scores, np.arange(len(train.users)), test.matrix, train.matrix, k=20), 20)
    return {
        "recall20": round(found["recall@20"], 4),
        "ndcg20": round(found["ndcg@20"], 4),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
    }


def ratings() -> list[dict[str, Any]]:
    """RMSE and MAE on a fifth of MovieLens small's ratings, predictions kept within half a star and five."""
    stars = segue.read_interactions(find_data("ml-latest-small"), duplicates="last")
    train, test = stars.split(test=0.2, by="random", seed=0)
    pairs = test.matrix.tocoo()
    segue.BiasedMF(threads=2, iterations=1).fit(train)
    started = time.perf_counter()
    learned = segue.BiasedMF(threads=2).fit(train)
    seconds = time.perf_counter() - started
    predicted = np.einsum("ij,ij->i", learned.users[pairs.row], learned.items[pairs.col])
    rows = [errors("segue BiasedMF", predicted, pairs.data, seconds)]
    if find_spec("surprise"):
        rows += surprise_rows(train, pairs)
    return rows


def surprise_rows(train: Interactions, pairs: Any) -> list[dict[str, Any]]:
    """The same of scikit-surprise, at its defaults."""
    import polars as pl
    import surprise

    had = train.matrix.tocoo()
    frame = pl.DataFrame({"user": had.row, "item": had.col, "rating": had.data.astype(float)}).to_pandas()
    everything = surprise.Dataset.load_from_df(
        frame, surprise.Reader(rating_scale=STARS)
    ).build_full_trainset()
    rows = []
    for model in (surprise.SVD(random_state=0), surprise.BaselineOnly(verbose=False)):
        started = time.perf_counter()
        model.fit(everything)
        seconds = time.perf_counter() - started
        predicted = [model.predict(user, item).est for user, item in zip(pairs.row, pairs.col, strict=True)]
        rows.append(errors(f"surprise {type(model).__name__}", np.array(predicted), pairs.data, seconds))
    return rows


def errors(model: str, predicted: np.ndarray, given: np.ndarray, seconds: float) -> dict[str, Any]:
    rmse, mae = rating_errors(predicted.clip(*STARS), given)
    return {"model": model, "rmse": round(rmse, 4), "mae": round(mae, 4), "seconds": round(seconds, 2)}


def table(rows: list[dict[str, Any]]) -> Table:
    made = Table(*rows[0])
    for one in rows:
        made.add_row(*(str(value) for value in one.values()))
    return made


if __name__ == "__main__":
    main()
