"""`segue.compat.lightfm` beside LightFM: the same program with another import.

    python benchmarks/parity.py [--seeds 2] [--epochs 10] [--only warp]

MovieLens small: ratings from 4 up are 1 and the others -1 (for k-OS only the former are there), a random
80/20 split, the defaults if nothing else is said. Precision@10 and AUC of the test set with its training
items in the ranking, as LightFM's own tests have it; means over the seeds. Seconds are medians of
trainings in turn, after one epoch of each that compiles and is not counted.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from typing import Any

import lightfm
import lightfm.evaluation
import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.table import Table

import segue
from data import find_data
from segue.compat import lightfm as compat

WHO: dict[str, Any] = {"segue": compat, "LightFM": lightfm}
ADADELTA = {"learning_schedule": "adadelta"}


def cases() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What is compared: the model's parameters, and what `fit` is given besides."""
    made: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for loss in ("logistic", "bpr", "warp", "warp-kos"):
        made[loss] = {"loss": loss}, {}
        made[f"{loss}, two threads"] = {"loss": loss}, {"num_threads": 2}
        made[f"{loss}, adadelta"] = {"loss": loss, **ADADELTA}, {}
        made[f"{loss} with genres"] = {"loss": loss}, {"item_features": True}
        for alpha in (1e-4, 1e-3):
            penalties = {"item_alpha": alpha, "user_alpha": alpha}
            made[f"{loss}, alphas {alpha:g}"] = {"loss": loss, **penalties}, {}
        made[f"{loss}, adadelta, alphas 1e-4"] = {
            "loss": loss, **ADADELTA, "item_alpha": 1e-4, "user_alpha": 1e-4,
        }, {}  # fmt: skip
    return made


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--seeds", type=int, default=2)
    arguments.add_argument("--epochs", type=int, default=10)
    arguments.add_argument("--only", default="", help="cases whose name holds this")
    given = arguments.parse_args()
    train, test, genres = ratings()
    rows = []
    for name, (parameters, fit) in cases().items():
        if given.only in name:
            found = compare(parameters, fit, train, test, genres, given.epochs, given.seeds)
            rows.append({"case": name, **found})
            print(rows[-1], flush=True)
    table = Table(*rows[0], title=f"{given.epochs} epochs, {given.seeds} seeds")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    print(json.dumps({"epochs": given.epochs, "seeds": given.seeds, "rows": rows}))


def ratings() -> tuple[sp.coo_matrix, sp.coo_matrix, sp.csr_matrix]:
    """Likes and dislikes, and the genres of the films."""
    data = segue.read_interactions(find_data("ml-latest-small"), duplicates="last")
    train, test = data.split(test=0.2, seed=0)
    parts = []
    for matrix in (train.matrix, test.matrix):
        liked = matrix.copy()
        liked.data = np.where(liked.data >= 4, 1, -1).astype(np.float32)
        parts.append(liked.tocoo())
    return *parts, segue.Features.from_frame(data.item_metadata, "genres", ids=data.items).matrix


def compare(
    parameters: dict[str, Any],
    fit: dict[str, Any],
    train: sp.coo_matrix,
    test: sp.coo_matrix,
    genres: sp.csr_matrix,
    epochs: int,
    seeds: int,
) -> dict[str, Any]:
    """Train both with each seed, and measure."""
    given = fit | {"item_features": genres} if "item_features" in fit else fit
    features = given.get("item_features")
    learned_from = only_likes(train) if parameters["loss"] == "warp-kos" else train
    held = only_likes(test)
    found: dict[str, list[tuple[float, float, float]]] = {who: [] for who in WHO}
    for seed in range(-1, seeds):
        for who, package in WHO.items():
            model = package.LightFM(random_state=max(0, seed), **parameters)
            started = time.perf_counter()
            model.fit(learned_from, epochs=epochs if seed >= 0 else 1, **given)
            seconds = time.perf_counter() - started
            if seed >= 0:
                ranked = Ranked(model.predict_rank(held, item_features=features, num_threads=2))
                measures = (package.evaluation.precision_at_k, package.evaluation.auc_score)
                found[who].append((*(measure(ranked, held).mean() for measure in measures), seconds))
    row: dict[str, Any] = {}
    for place, (name, digits) in enumerate((("P@10", 4), ("AUC", 4), ("s", 2))):
        middle = np.median if name == "s" else np.mean
        for who, values in found.items():
            row[f"{name} {who}"] = round(float(middle([value[place] for value in values])), digits)
    return row


@dataclass(frozen=True)
class Ranked:
    """The ranks of a model, for measures that ask a model for them and write into them."""

    ranks: sp.csr_matrix

    def predict_rank(self, *_: Any, **__: Any) -> sp.csr_matrix:
        return self.ranks.copy()


def only_likes(matrix: sp.coo_matrix) -> sp.coo_matrix:
    kept = matrix.data > 0
    return sp.coo_matrix((matrix.data[kept], (matrix.row[kept], matrix.col[kept])), matrix.shape)


if __name__ == "__main__":
    main()
