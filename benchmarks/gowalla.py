"""The blend of iALS and SVD-AE on gowalla, asked through exact search, and its two parts by themselves.

    python benchmarks/gowalla.py [--dim 512] [--directions 1024] [--share 0.2] [--parts]

Two threads. Recall@20 and NDCG@20 of all users with test items, their training items left out.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

import segue
from data import load_split
from segue.data.interactions import Interactions

K = 20


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("dim", 512), ("directions", 1024), ("share", 0.2)):
        arguments.add_argument(f"--{name}", type=type(default), default=default)
    arguments.add_argument("--parts", action="store_true", help="measure both parts by themselves too")
    given = arguments.parse_args()
    train, test = load_split("gowalla")
    settings = segue.Blend(given.dim, given.directions, given.share, threads=2)
    segue.Blend(dim=8, svd_dim=8, threads=2).fit(segue.data.simulate(100, 80, 1500))  # compiles
    started = time.perf_counter()
    made = settings.fit(train)
    seconds = time.perf_counter() - started
    rows = [{"who": "blend", "seconds": round(seconds, 1), **found(made.users, made.items, train, test)}]
    if given.parts:
        for who, part in (("ials", slice(given.dim)), ("svdae", slice(given.dim, None))):
            rows.append({"who": who, **found(made.users[:, part], made.items[:, part], train, test)})
    for row in rows:
        print(json.dumps(row))


def found(users: np.ndarray, items: np.ndarray, train: Interactions, test: Interactions) -> dict[str, Any]:
    """Search for everybody, and measure what comes."""
    asked = np.flatnonzero(np.diff(test.matrix.indptr))
    index = segue.Exact().build(np.ascontiguousarray(items))
    best = index.search(np.ascontiguousarray(users[asked]), K, exclude=train.matrix[asked]).ids
    held = test.matrix[asked].tocoo()
    width = np.int64(len(items))
    hits = np.isin(np.arange(len(asked))[:, None] * width + best, held.row * width + held.col)
    counts = np.diff(test.matrix.indptr)[asked]
    discounts = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(discounts)[np.minimum(counts, K) - 1]
    return {
        "recall@20": round(float((hits.sum(1) / counts).mean()), 4),
        "ndcg@20": round(float(((hits * discounts).sum(1) / ideal).mean()), 4),
    }


if __name__ == "__main__":
    main()
