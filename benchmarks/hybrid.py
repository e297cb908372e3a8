"""Genres on MovieLens small: hybrid, plain and popularity, beside LightFM, in both protocols.

    python benchmarks/hybrid.py [--splits 5] [--epochs 15]

Five-star pairs, random 80/20, WARP with 64 dimensions and two threads. "masked" leaves training items out of
the ranking; the other is LightFM's protocol, which leaves them in. Means and standard errors over the splits.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from lightfm import LightFM
from rich.console import Console
from rich.table import Table

import segue
from data import find_data
from segue.data.interactions import Interactions
from segue.evaluation.metrics import measure
from segue.numerics.ranks import rank

METRICS = ("precision@5", "ndcg@10", "auc")


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--splits", type=int, default=5)
    arguments.add_argument("--epochs", type=int, default=15)
    given = arguments.parse_args()
    data = segue.read_interactions(find_data("ml-latest-small"), min_weight=5.0)
    genres = segue.Features.from_frame(data.item_metadata, "genres", ids=data.items)
    found: dict[tuple[str, str], list[list[float]]] = {}
    for seed in range(given.splits):
        train, test = data.split(test=0.2, seed=seed)
        for who, vectors in rivals(train, genres, given.epochs, seed).items():
            for protocol, seen in (("masked", train.matrix), ("LightFM's", None)):
                found.setdefault((who, protocol), []).append(measured(vectors, train, test, seen))
    table = Table("who", "protocol", *METRICS, title=f"{given.splits} splits, {given.epochs} epochs")
    rows: list[dict[str, Any]] = []
    for (who, protocol), values in found.items():
        means, errors = np.mean(values, 0), np.std(values, 0, ddof=1) / np.sqrt(len(values))
        table.add_row(who, protocol, *(f"{m:.4f} ± {e:.4f}" for m, e in zip(means, errors, strict=True)))
        rows.append({"who": who, "protocol": protocol} | dict(zip(METRICS, means.round(4), strict=True)))
    Console().print(table)
    print(json.dumps({"splits": given.splits, "epochs": given.epochs, "rows": rows}))


def rivals(
    train: Interactions, genres: segue.Features, epochs: int, seed: int
) -> dict[str, segue.Embeddings]:
    model = segue.WARP(dim=64, epochs=epochs, seed=seed, threads=2)
    return {
        "popularity": segue.Popularity().fit(train),
        "segue plain": model.fit(train),
        "segue genres": model.fit(train, item_features=genres),
        "LightFM plain": lightfm(train, None, epochs, seed),
        "LightFM genres": lightfm(train, genres, epochs, seed),
    }


def lightfm(train: Interactions, genres: segue.Features | None, epochs: int, seed: int) -> segue.Embeddings:
    model = LightFM(no_components=64, loss="warp", random_state=seed)
    matrix = None if genres is None else genres.matrix
    ones = train.matrix.copy()
    ones.data[:] = 1
    model.fit(ones.tocoo(), item_features=matrix, epochs=epochs, num_threads=2)
    (u, x), (i, y) = model.get_user_representations(), model.get_item_representations(matrix)
    users = np.column_stack([x, u, np.ones(len(u))]).astype(np.float32)
    items = np.column_stack([y, np.ones(len(i)), i]).astype(np.float32)
    return segue.Embeddings(users, items, 2)


def measured(vectors: segue.Embeddings, train: Interactions, test: Interactions, seen: Any) -> list[float]:
    informed = (np.diff(train.matrix.indptr) > 0) & (np.diff(test.matrix.indptr) > 0)
    users = np.flatnonzero(informed)
    ranks = rank(lambda rows: vectors.users[rows] @ vectors.items.T, users, test.matrix, seen, k=10)
    metrics = measure(ranks, (5, 10))
    return [float(metrics[name]) for name in METRICS]


if __name__ == "__main__":
    main()
