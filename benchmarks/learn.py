"""WARP and BPR against LightFM and implicit: positives a second, and quality after the same epochs.

    python benchmarks/learn.py [--data amazon-book gowalla] [--epochs 10] [--repeats 3]

Two threads each, 64 dimensions, learning rate .05 (implicit's: its own default, .01). Epochs of all of them
are timed in turn after a warm-up each, from a state that has been trained for `--epochs`; medians are
compared. LightFM is `lightfm-next`, with its OpenMP kernel.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from lightfm import LightFM
from rich.console import Console
from rich.table import Table

import segue
from data import load_split
from ials import scores_of
from segue.data.interactions import Interactions

THREADS, DIM = 2, 64
Rival = tuple[segue.Embeddings, Callable[[], list[float]]]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--data", nargs="+", default=["amazon-book", "gowalla"])
    arguments.add_argument("--epochs", type=int, default=10)
    arguments.add_argument("--repeats", type=int, default=3)
    given = arguments.parse_args()
    rows = [row for name in given.data for row in compare(name, given.epochs, given.repeats)]
    table = Table(*rows[0], title=f"{given.epochs} epochs, {DIM} dimensions, {THREADS} threads each")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    print(json.dumps({"epochs": given.epochs, "rows": rows}))


def compare(name: str, epochs: int, repeats: int) -> list[dict[str, Any]]:
    """Train all, time some more epochs of each in turn, and measure."""
    train, test = load_split(name)
    rivals: dict[str, Rival] = {
        "segue WARP": ours(segue.WARP, train, epochs),
        "segue BPR": ours(segue.BPR, train, epochs),
        "LightFM WARP": lightfm("warp", train, epochs),
        "LightFM BPR": lightfm("bpr", train, epochs),
        "implicit BPR": implicit(train, epochs),
    }
    seconds: dict[str, list[float]] = {who: [] for who in rivals}
    for _ in range(repeats):
        for who, (_, more) in rivals.items():
            seconds[who] += more()
    return [
        {
            "data": name,
            "who": who,
            "positives/s": round(len(train) / float(np.median(seconds[who]))),
            **{metric: round(found[metric], 4) for metric in ("recall@20", "ndcg@20")},
        }
        for who, (vectors, _) in rivals.items()
        for found in (scores_of(vectors, train, test),)
    ]


def ours(kind: Any, train: Interactions, epochs: int) -> Rival:
    vectors = kind(dim=DIM, epochs=epochs, threads=THREADS).fit(train)

    def more() -> list[float]:
        moments: list[float] = []
        kind(dim=DIM, epochs=4, threads=THREADS).fit(
            train, start=vectors, progress=lambda *_: moments.append(time.perf_counter())
        )
        return [later - earlier for earlier, later in pairwise(moments)][1:]

    return vectors, more


def lightfm(loss: str, train: Interactions, epochs: int) -> Rival:
    model, pairs = LightFM(no_components=DIM, loss=loss, random_state=0), train.matrix.tocoo()
    model.fit(pairs, epochs=epochs, num_threads=THREADS)
    (u, x), (i, y) = model.get_user_representations(), model.get_item_representations()
    users = np.column_stack([x, u, np.ones(len(u))]).astype(np.float32)
    items = np.column_stack([y, np.ones(len(i)), i]).astype(np.float32)

    def more() -> list[float]:
        started = time.perf_counter()
        model.fit_partial(pairs, epochs=1, num_threads=THREADS)
        return [time.perf_counter() - started]

    return segue.Embeddings(users, items, 2), more


def implicit(train: Interactions, epochs: int) -> Rival:
    def fit(iterations: int) -> tuple[Any, list[float]]:
        model = BayesianPersonalizedRanking(
            factors=DIM, iterations=iterations, num_threads=THREADS, random_state=0
        )
        moments: list[float] = []
        model.fit(train.matrix, show_progress=False, callback=lambda *_: moments.append(time.perf_counter()))
        return model, [later - earlier for earlier, later in pairwise(moments)]

    model, _ = fit(epochs)
    return segue.Embeddings(model.user_factors, model.item_factors), lambda: fit(4)[1]


if __name__ == "__main__":
    main()
