"""New users and new items taken in by `partial_fit`, beside the same users and items in training.

    python benchmarks/update.py [--data ml-latest-small gowalla] [--models ials warp …]

Of the interactions a fifth is held out. A tenth of the users (and apart from that a tenth of the items) is
left out of the training and comes later, by `partial_fit`; "trained" had them in training. Recall@20 and
NDCG@20 are over these users; for items, over the held-out pairs of these items only, all items ranked, and
"all recall@20" over the held-out pairs of all items. Ratings: RMSE. Two threads.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import scipy.sparse as sp
from rich.console import Console
from rich.table import Table

import segue
from data import find_data, load_split
from segue.data.interactions import Interactions
from segue.evaluation.metrics import measure
from segue.numerics.ranks import rank

MODELS: dict[str, Any] = {
    "ials": segue.IALS(threads=2),
    "warp": segue.WARP(threads=2),
    "koswarp": segue.KOSWARP(threads=2),
    "bpr": segue.BPR(threads=2),
    "logistic": segue.Logistic(threads=2),
    "contrastive": segue.Contrastive(threads=2),
    "item2vec": segue.Item2Vec(threads=2),
    "biasedmf": segue.BiasedMF(threads=2),
    "popularity": segue.Popularity(),
}
SETS = ("ml-latest-small", "gowalla", "amazon-book")
LATE = 0.1  # of the users, or items, that come later


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--data", nargs="+", default=SETS[:1], choices=SETS)
    arguments.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    given = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    for data in given.data:
        for name in given.models:
            train, test = parted(data, ratings=name == "biasedmf")
            for late in ("users", "items"):
                rows.append({"data": data, "model": name, "late": late, **row(name, train, test, late)})
                print(rows[-1], flush=True)
    table = Table(*rows[0])
    for one in rows:
        table.add_row(*(str(value) for value in one.values()))
    Console().print(table)
    print(json.dumps(rows))


def parted(name: str, *, ratings: bool) -> tuple[Interactions, Interactions]:
    """The training and test part of a data set: what was rated 4 and more, or all ratings."""
    if name != "ml-latest-small":
        return load_split(name)
    least = None if ratings else 4.0
    return segue.read_interactions(find_data(name), min_weight=least, duplicates="last").split(
        test=0.2, seed=0
    )


def row(name: str, train: Interactions, test: Interactions, late: str) -> dict[str, Any]:
    """Measure a model trained with the late ones, and one that takes them in afterwards."""
    axis = ("users", "items").index(late)
    pairs = train.matrix.tocoo()
    counts = np.bincount((pairs.row, pairs.col)[axis], minlength=train.matrix.shape[axis])
    able = np.flatnonzero(counts >= 5)
    chosen = np.zeros(len(counts), bool)
    chosen[np.random.default_rng(0).choice(able, int(LATE * len(able)), replace=False)] = True
    later = chosen[(pairs.row, pairs.col)[axis]]
    recommender = segue.Recommender(MODELS[name])
    trained = recommender.fit(train)
    begun = recommender.fit(train.where(~later).compact())
    new = train.where(later).compact()
    begun.partial_fit(new)  # compiles
    started = time.perf_counter()
    updated = begun.partial_fit(new)
    seconds = time.perf_counter() - started
    score = errors if name == "biasedmf" else ranking
    found: dict[str, Any] = {}
    for who, one in (("trained", trained), ("updated", updated)):
        found |= {f"{who} {what}": value for what, value in score(one, train, test, chosen, axis).items()}
    return {"late_rows": int(chosen.sum()), **found, "update_s": round(seconds, 2)}


def vectors_of(trained: Any, train: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """The vectors in the rows of the training data; zeros for whom the model does not know."""
    made = []
    for ids, known, vectors in (
        (train.users, trained.users, trained.embeddings.users),
        (train.items, trained.items, trained.embeddings.items),
    ):
        rows = known.rows(ids.series)
        made.append(np.where(rows[:, None] >= 0, vectors[rows], np.float32(0)))
    return made[0], made[1]


def ranking(
    trained: Any, train: Interactions, test: Interactions, chosen: np.ndarray, axis: int
) -> dict[str, float]:
    users, items = vectors_of(trained, train)
    kept = sp.csr_matrix(test.matrix.multiply(chosen[:, None] if axis == 0 else chosen[None]))
    kept.eliminate_zeros()
    ranks = rank(
        lambda rows: users[rows] @ items.T,
        np.flatnonzero(np.diff(kept.indptr) > 0), kept, train.matrix, k=20,
    )  # fmt: skip
    found = measure(ranks, (20,))
    made = {name: round(found[name], 4) for name in ("recall@20", "ndcg@20")}
    if axis:  # with the new items among them, does everything still find what it should?
        everyone = np.flatnonzero(np.diff(test.matrix.indptr))
        whole = rank(lambda rows: users[rows] @ items.T, everyone, test.matrix, train.matrix, k=20)
        made["all recall@20"] = round(measure(whole, (20,))["recall@20"], 4)
    return made


def errors(
    trained: Any, train: Interactions, test: Interactions, chosen: np.ndarray, axis: int
) -> dict[str, float]:
    users, items = vectors_of(trained, train)
    pairs = test.matrix.tocoo()
    known = np.bincount(train.matrix.indices, minlength=len(items)) > 0
    kept = chosen[(pairs.row, pairs.col)[axis]] & known[pairs.col]
    predicted = np.einsum("ij,ij->i", users[pairs.row[kept]], items[pairs.col[kept]])
    return {"rmse": round(float(np.sqrt(np.mean((predicted - pairs.data[kept]) ** 2))), 4)}


if __name__ == "__main__":
    main()
