"""iALS with many dimensions on gowalla: seconds an iteration, and what they are worth.

    python benchmarks/wide.py [--dims 64 128 256 512 1024] [--scored 256 512]

Two threads. Medians of three iterations after a first; Recall@20 and NDCG@20 after eight, all items ranked
for 3,000 users.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import segue
from data import load_split
from segue.data.interactions import Interactions
from segue.evaluation.metrics import measure
from segue.numerics.ranks import rank

ITERATIONS, USERS = 8, 3000


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--dims", nargs="+", type=int, default=[64, 128, 256, 512, 1024])
    arguments.add_argument("--scored", nargs="*", type=int, default=[256, 512])
    given = arguments.parse_args()
    train, test = load_split("gowalla")
    rows = []
    for dim in given.dims:
        scored = dim in given.scored
        settings = segue.IALS(
            dim=dim, iterations=ITERATIONS if scored else 4, unobserved_weight=0.01, reg=0.003, threads=2
        )
        moments: list[float] = []
        vectors = settings.fit(train, progress=lambda *_: moments.append(time.perf_counter()))  # noqa: B023
        seconds = [later - earlier for earlier, later in pairwise(moments)][1:]
        row: dict[str, Any] = {"dim": dim, "s_an_iteration": round(float(np.median(seconds)), 3)}
        rows.append(row | (scores(vectors, train, test) if scored else {}))
        print(rows[-1], flush=True)
    table = Table("dim", "s_an_iteration", "recall20", "ndcg20")
    for one in rows:
        table.add_row(*(str(one.get(name, "")) for name in ("dim", "s_an_iteration", "recall20", "ndcg20")))
    Console().print(table)
    print(json.dumps(rows))


def scores(vectors: segue.Embeddings, train: Interactions, test: Interactions) -> dict[str, float]:
    some = np.random.default_rng(0).choice(len(train.users), USERS, replace=False)
    ranks = rank(lambda rows: vectors.users[rows] @ vectors.items.T, some, test.matrix, train.matrix, k=20)
    found = measure(ranks, (20,))
    return {"recall20": round(found["recall@20"], 4), "ndcg20": round(found["ndcg@20"], 4)}


if __name__ == "__main__":
    main()
