"""The indexes on a model's own vectors: recall, time, memory, and what each costs in ranking metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from segue.bench.ours import runner
from segue.bench.peers import PEERS, Peer, chosen
from segue.bench.race import Runner, built, race
from segue.bench.truth import Truth
from segue.data.interactions import Interactions
from segue.errors import SettingError
from segue.evaluation.evaluate import Held, hold
from segue.evaluation.metrics import difference
from segue.index.base import check_k
from segue.index.kinds import KINDS
from segue.index.timing import single_microseconds
from segue.kernels import threads
from segue.numerics.ranks import Scorer
from segue.progress import Progress, silent
from segue.recommender.facade import TrainedRecommender

ALONE = 200  # queries that are asked one at a time
TURNS = 5


@dataclass(frozen=True)
class Comparison:
    """What `compare` measured.

    Attributes:
        rows: an index each: name, setting, recall, us and single_us a query, build_s, mib, and with a test
            set ndcg, recall_test and their differences from exact search with standard errors.
        curves: an index each: name, ours, us, and points of (setting, recall, us), for the plot.
        k, target, items, queries, threads: the conditions.
        absent: libraries that are not installed.
    """

    rows: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    k: int
    target: float
    items: int
    queries: int
    threads: int
    absent: list[str]

    def frame(self) -> pl.DataFrame:
        """The rows, fastest first among those that reach the target."""
        return pl.DataFrame(self.rows, infer_schema_length=None).sort(~pl.col("reached"), "us")


def compare(
    recommender: TrainedRecommender,
    test: Interactions | None = None,
    *,
    k: int = 10,
    target: float = 0.95,
    queries: int = 2000,
    indexes: Iterable[str] | None = None,
    peers: Iterable[str] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Comparison:
    """Compare our indexes, and the libraries that are installed, on the vectors of a trained recommender.

    Each is built once; its dial is turned up until it finds `target` of the k best of the users drawn as
    queries; then all take turns at that setting, and medians count. With `test`, each of ours also
    recommends to its users, seen items left out, and NDCG@k and recall@k are measured beside those of
    exact search.

    Args:
        recommender: whose users ask for items by inner product.
        test: held-out interactions, or None.
        k: neighbours of each query.
        target: the share of the true k best that must be found, in (0, 1].
        queries: how many users are drawn.
        indexes: names of ours, None for all; exact search is always among them.
        peers: parts of the names of other libraries, such as "hnswlib"; None for all that are installed.
        seed: of the draw.
        progress: told of the indexes measured so far.

    Raises `SettingError` for names that nobody has and a target that is no share.
    """
    names, others, absent = _named(indexes, peers, target)
    check_k(k)
    check_k(queries, "queries")
    items, users = recommender.embeddings.items, recommender.embeddings.users
    users = users[np.asarray(users.any(1))]
    drawn = users[np.random.default_rng(seed).permutation(len(users))[:queries]]
    k = min(k, len(items))
    truth, count = Truth(items, drawn, "dot"), threads.available()
    (kth,) = truth.kth((k,), count)
    held = None if test is None else hold(recommender, test)
    total = len(names) + len(others)
    runners: list[Runner] = []
    kept: dict[str, Any] = {}
    sweeps: dict[str, list[list[Any]]] = {}
    for place, name in enumerate(names):
        progress("building", place, total)
        made, kept[name] = runner(KINDS[name](), name, items, drawn)
        runners.append(made)
        sweeps[name] = [kept[name].efforts(k) or [None]]
    for place, peer in enumerate(others, len(names)):
        progress("building", place, total)
        runners.append(built(peer, items, "dot", count, None))
        sweeps[peer.name] = peer.sweeps(len(items), k)
    progress("building", total, total)
    race(runners, sweeps, drawn, k, lambda ids: truth.recall(ids, kth), target, TURNS, progress)
    rows = [_row(one, kept.get(one.name), drawn, k) for one in runners]
    if held is not None:
        _add_costs(rows, kept, held, recommender, k, progress)
    curves = [{**one.row(), "ours": one.name in kept} for one in runners]
    return Comparison(rows, curves, k, target, len(items), len(drawn), count, absent)


def _named(
    indexes: Iterable[str] | None, peers: Iterable[str] | None, target: float
) -> tuple[list[str], list[Peer], list[str]]:
    """Our indexes, the other libraries, and those of them that are not installed."""
    if not 0 < target <= 1:
        raise SettingError(f"target={target!r} must be above 0 and at most 1")
    names = list(dict.fromkeys(["exact", *(KINDS if indexes is None else indexes)]))
    for name in names:
        if name not in KINDS:
            raise SettingError(f"there is no index {name!r}; there are {', '.join(KINDS)}")
    parts = None if peers is None else list(peers)
    for part in parts or ():
        if not any(part in name for name in PEERS):
            raise SettingError(f"there is no library {part!r}; there are {', '.join(PEERS)}")
    others = [] if parts == [] else chosen(parts or [], "dot")
    there = [peer for peer in others if not peer.absent()]
    return names, there, sorted({peer.package for peer in others} - {peer.package for peer in there})


def _row(one: Runner, index: Any, queries: np.ndarray, k: int) -> dict[str, Any]:
    told = one.row()
    size = None if index is None else sum(array.nbytes for array in index.arrays().values()) / 2**20
    return {
        "index": one.name,
        "ours": index is not None,
        "reached": told["reached"],
        "setting": "" if told["setting"] is None else str(told["setting"]),
        "effort": told["setting"] if index is not None else None,
        "recall": told["recall"],
        "us": told["us"],
        "single_us": round(single_microseconds(one.search, queries[:ALONE], k, told["setting"]), 1),
        "build_s": told["build_s"],
        "mib": size,
    }


def _add_costs(
    rows: list[dict[str, Any]],
    kept: dict[str, Any],
    held: Held,
    recommender: TrainedRecommender,
    k: int,
    progress: Progress,
) -> None:
    """Add NDCG@k and recall@k on the held-out interactions, and how far they are from exact search."""
    ndcg, recall = f"ndcg@{k}", f"recall@{k}"
    exact = None
    for row in rows:
        if not row["ours"]:
            continue
        scorer = _lists(kept[row["index"]], row["effort"], held, recommender, k)
        found = held.measured(scorer, (k,), row["index"], progress=progress)
        exact = found if exact is None else exact
        row |= {"ndcg_test": found[ndcg], "recall_test": found[recall]}
        row["ndcg_cost"], row["ndcg_cost_error"] = difference(found, exact, ndcg)
        row["recall_cost"], row["recall_cost_error"] = difference(found, exact, recall)


def _lists(index: Any, effort: Any, held: Held, recommender: TrainedRecommender, k: int) -> Scorer:
    """Score what an index lists for a user as it scores it, and everything else as nothing."""
    users = recommender.embeddings.users

    def score(part: np.ndarray) -> np.ndarray:
        found = index.search(users[held.rows[part]], k, exclude=held.known[part], effort=effort)
        scores = np.full((len(part), len(index)), -np.inf, np.float32)
        query, place = np.nonzero(found.ids >= 0)
        scores[query, found.ids[query, place]] = found.scores[query, place]
        return scores

    return score
