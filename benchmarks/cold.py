"""Items that nobody has had, by their genres: iALS and WARP with features, and the popularity of the genres.

    python benchmarks/cold.py [--splits 3]

MovieLens small, what was rated 4 and more. A fifth of the items is left out of training and ranked among
themselves for everybody who had some of them. Means over the splits, two threads.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import segue
from data import find_data
from segue.data.interactions import Interactions
from segue.evaluation.metrics import measure
from segue.numerics.ranks import rank

METRICS = ("recall@20", "ndcg@20", "auc")


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--splits", type=int, default=3)
    given = arguments.parse_args()
    data = segue.read_interactions(find_data("ml-latest-small"), min_weight=4.0)
    found: dict[str, list[list[float]]] = {}
    for seed in range(given.splits):
        cold = np.zeros(len(data.items), bool)
        cold[np.random.default_rng(seed).choice(len(cold), len(cold) // 5, replace=False)] = True
        late = cold[data.matrix.indices]
        train, test = data.where(~late), data.where(late)
        for who, vectors in rivals(train, cold).items():
            found.setdefault(who, []).append(measured(vectors, test, cold))
    table = Table("who", *METRICS, title=f"{given.splits} splits")
    means = {who: np.mean(values, 0).round(4).tolist() for who, values in found.items()}
    for who, values in means.items():
        table.add_row(who, *map(str, values))
    Console().print(table)
    print(json.dumps(means))


def rivals(train: Interactions, cold: np.ndarray) -> dict[str, segue.Embeddings]:
    features = segue.Features.from_frame(train.item_metadata, "genres", ids=train.items)
    return {
        "popularity of the genres": segue.Embeddings(
            np.ones((len(train.users), 1), np.float32), popularity(train, cold)
        ),
        "iALS with genres": segue.IALS(threads=2).fit(train, item_features=features),
        "WARP with genres": segue.WARP(epochs=50, threads=2).fit(train, item_features=features),
    }


def popularity(train: Interactions, cold: np.ndarray) -> np.ndarray:
    """The mean users of an item of a genre, and of these the mean over an item's genres: (n, 1)."""
    genres: Any = segue.Features.from_frame(
        train.item_metadata, "genres", ids=train.items, identity=False
    ).matrix
    users = np.bincount(train.matrix.indices, minlength=len(cold))
    sizes = np.asarray(genres[~cold].sum(0)).ravel()
    scores: np.ndarray = genres @ (genres.T @ users / np.maximum(sizes, 1))
    return scores.astype(np.float32)[:, None]


def measured(vectors: segue.Embeddings, test: Interactions, cold: np.ndarray) -> list[float]:
    held, items = test.matrix[:, np.flatnonzero(cold)], vectors.items[cold]
    users = np.flatnonzero(np.diff(held.indptr))
    ranks = rank(lambda rows: vectors.users[rows] @ items.T, users, held, None, k=20)
    metrics = measure(ranks, (20,))
    return [float(metrics[name]) for name in METRICS]


if __name__ == "__main__":
    main()
