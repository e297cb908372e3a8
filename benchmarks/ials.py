"""iALS against implicit: seconds an iteration, and Recall@20 after the same number of them.

    python benchmarks/ials.py [--dims 64 128 256] [--data amazon-book gowalla] [--repeats 5] [--no-sweep]

Two threads each. implicit runs as it recommends: conjugate gradients, its BLAS pinned to one thread,
its settings the best of a small sweep by Recall@20. Iterations of the two are timed in turn, after a
warm-up each, and the medians are compared. The last table trains on gowalla at 256 dimensions.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import segue
from data import load_split
from segue.data.interactions import Interactions
from segue.evaluation.metrics import Metrics, measure
from segue.numerics.ranks import rank

THREADS, ITERATIONS = 2, 15
STEPS = (1, 2)  # of conjugate gradients a row and pass; 2 is the default
OURS: dict[str, dict[str, float]] = {
    "amazon-book": {"unobserved_weight": 0.008, "reg": 0.007},
    "gowalla": {"unobserved_weight": 0.01, "reg": 0.005},
}
Settings = list[tuple[float, float]]  # alpha and reg of implicit
BEST = [(40.0, 0.01)]  # of the sweep on amazon-book with 64 dimensions
SWEEP = [(alpha, reg) for alpha in (1.0, 10.0, 40.0) for reg in (0.01, 0.1)]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--dims", type=int, nargs="+", default=[64])
    arguments.add_argument("--data", nargs="+", default=["amazon-book"])
    arguments.add_argument("--repeats", type=int, default=7)
    arguments.add_argument(
        "--no-sweep", action="store_true", help="implicit with its best setting at 64 dimensions alone"
    )
    given = arguments.parse_args()
    tried = BEST if given.no_sweep else SWEEP
    splits = {name: load_split(name) for name in given.data}
    rows: list[dict[str, Any]] = [
        {"data": name, "dim": dim, "steps": steps, **row}
        for name in given.data
        for dim in given.dims
        for steps, row in compare(name, *splits[name], dim, given.repeats, tried).items()
    ]
    deep = train_deep()
    console = Console()
    console.print(_table("an iteration, two threads each", rows))
    console.print(_table("gowalla at 256 dimensions", [deep]))
    print(json.dumps({"iteration": rows, "gowalla256": deep}))


def compare(
    name: str, train: Interactions, test: Interactions, dim: int, repeats: int, tried: Settings
) -> dict[int, dict[str, Any]]:
    """Time iterations of one and two steps and implicit's in turn; compare quality after `ITERATIONS`."""
    alpha, reg, theirs = best_of_sweep(train, test, dim, tried)
    base = segue.IALS(dim=dim, iterations=ITERATIONS, threads=THREADS, **OURS[name])  # type: ignore[arg-type]
    ours = {steps: replace(base, cg_steps=steps) for steps in STEPS}
    scores = {steps: scores_of(settings.fit(train), train, test) for steps, settings in ours.items()}
    seconds: dict[Any, list[float]] = {"implicit": [], **{steps: [] for steps in STEPS}}
    for _ in range(repeats):
        for steps, settings in ours.items():
            seconds[steps] += segue_iterations(settings, train)
        seconds["implicit"] += implicit_iterations(train, dim, alpha, reg, 4)[0]
    each = {who: float(np.median(times)) for who, times in seconds.items()}
    return {
        steps: {
            "segue_s": round(each[steps], 4),
            "implicit_s": round(each["implicit"], 4),
            "ratio": round(each["implicit"] / each[steps], 2),
            "segue_recall20": round(found["recall@20"], 4),
            "implicit_recall20": round(theirs["recall@20"], 4),
            "segue_ndcg20": round(found["ndcg@20"], 4),
            "implicit_ndcg20": round(theirs["ndcg@20"], 4),
            "implicit_settings": f"alpha {alpha:g} reg {reg:g}",
        }
        for steps, found in scores.items()
    }


def segue_iterations(settings: segue.IALS, train: Interactions) -> list[float]:
    """Seconds of each of some iterations, the first left out."""
    moments: list[float] = []
    replace(settings, iterations=5).fit(train, progress=lambda *_: moments.append(time.perf_counter()))
    return [later - earlier for earlier, later in pairwise(moments)][1:]


def implicit_iterations(
    train: Interactions, dim: int, alpha: float, reg: float, iterations: int
) -> tuple[list[float], segue.Embeddings]:
    """Seconds of each of implicit's iterations, the first left out, and its vectors."""
    seconds: list[float] = []
    model = AlternatingLeastSquares(
        factors=dim, alpha=alpha, regularization=reg, iterations=iterations, use_gpu=False,
        num_threads=THREADS, random_state=0,
    )  # fmt: skip
    with threadpool_limits(1, "blas"):
        model.fit(train.matrix, show_progress=False, callback=lambda _, took, *__: seconds.append(took))
    return seconds[1:], segue.Embeddings(model.user_factors, model.item_factors)


def best_of_sweep(
    train: Interactions, test: Interactions, dim: int, tried: Settings
) -> tuple[float, float, Metrics]:
    """implicit's best settings by Recall@20 on the test data, which flatters it a little."""
    found = []
    for alpha, reg in tried:
        vectors = implicit_iterations(train, dim, alpha, reg, ITERATIONS)[1]
        found.append((alpha, reg, scores_of(vectors, train, test)))
    return max(found, key=lambda row: row[2]["recall@20"])


def train_deep() -> dict[str, Any]:
    """Train on gowalla at 256 dimensions, compiled kernels, and time it whole."""
    train, test = load_split("gowalla")
    settings = segue.IALS(dim=256, iterations=8, unobserved_weight=0.01, reg=0.003, threads=THREADS)
    replace(settings, iterations=1, dim=8).fit(train)
    started = time.perf_counter()
    vectors = settings.fit(train)
    took = time.perf_counter() - started  # with two threads, from the interactions to the vectors
    found = scores_of(vectors, train, test)
    return {
        "seconds": round(took, 2),
        "recall20": round(found["recall@20"], 4),
        "ndcg20": round(found["ndcg@20"], 4),
    }


def scores_of(vectors: segue.Embeddings, train: Interactions, test: Interactions) -> Metrics:
    """Full ranking with the training items left out."""
    everyone = np.arange(len(train.users))
    ranks = rank(
        lambda rows: vectors.users[rows] @ vectors.items.T, everyone, test.matrix, train.matrix, k=20
    )
    return measure(ranks, (20,))


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    made = Table("", *map(str, range(1, len(rows) + 1)), title=title)
    for name in rows[0]:
        made.add_row(name, *(str(row[name]) for row in rows))
    return made


if __name__ == "__main__":
    main()
