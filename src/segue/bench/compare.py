"""Compare the indexes on a model's own vectors: recall, time, memory, and the cost in ranking metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np
import polars as pl

from segue.bench.ground_truth import GroundTruth
from segue.bench.peer import Peer, Sweep
from segue.bench.peers import PEERS, select_peers
from segue.bench.race import Runner, RunnerRow, build_peer, race
from segue.bench.segue_indexes import build_index
from segue.data.interactions import Interactions
from segue.errors import SettingError
from segue.evaluation.evaluate import Held, hold
from segue.evaluation.metrics import difference
from segue.index.base import Index
from segue.index.checks import check_k
from segue.index.registry import INDEXES, concrete_indexes
from segue.index.timing import single_microseconds
from segue.kernels import threads
from segue.numerics.ranks import Scorer
from segue.progress import Progress, silent
from segue.recommender.facade import TrainedRecommender

SINGLE_QUERIES = 200  # queries timed one at a time
ROUNDS = 5


class IndexRow(TypedDict, total=False):
    """The measurements of one index; those of the test set only if there is one.

    Attributes:
        index: the name.
        ours: whether it is one of segue's.
        reached: whether it reached the target recall.
        setting, effort: the search setting as text; as a number, for segue's indexes.
        recall: the recall at that setting.
        us, single_us: microseconds per query in a batch, and of a single query.
        build_s: seconds to build.
        mib: memory of the arrays in MiB, for segue's indexes.
        ndcg_test, recall_test: NDCG@k and recall@k on the test set.
        ndcg_cost, recall_cost: their differences from exact search.
        ndcg_cost_error, recall_cost_error: the standard errors of the differences.
    """

    index: str
    ours: bool
    reached: bool
    setting: str
    effort: int | None
    recall: float
    us: float
    single_us: float
    build_s: float
    mib: float | None
    ndcg_test: float
    recall_test: float
    ndcg_cost: float
    ndcg_cost_error: float
    recall_cost: float
    recall_cost_error: float


class CurveRow(RunnerRow):
    """The measurements of one search for the plot, and whether it is one of segue's indexes."""

    ours: bool


@dataclass(frozen=True)
class Comparison:
    """The results of `compare`.

    Attributes:
        rows: one row per index.
        curves: one curve per index, for the plot.
        k: the number of neighbors.
        target: the recall to reach.
        items, queries: how many there are.
        threads: the number of threads.
        absent: libraries that are not installed.
    """

    rows: list[IndexRow]
    curves: list[CurveRow]
    k: int
    target: float
    items: int
    queries: int
    threads: int
    absent: list[str]

    def frame(self) -> pl.DataFrame:
        """Return the rows; those that reach the target come first, the fastest at the top."""
        return pl.DataFrame(self.rows, infer_schema_length=None).sort(~pl.col("reached"), "us")


class _Searches(NamedTuple):
    """What takes part: all runners, segue's indexes by name, and the settings of each runner by name."""

    runners: list[Runner]
    indexes: dict[str, Index]
    sweeps: dict[str, list[Sweep]]


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
    """Compare segue's indexes and the installed libraries on the vectors of a trained recommender.

    Each index is built once. Its search setting is raised until it finds the share `target` of the true
    neighbors; then all are timed at that setting in rounds, and the medians are reported. With `test`, each
    of segue's indexes also recommends to the test users, and NDCG@k and recall@k are compared with exact
    search.

    Args:
        recommender: the model; its users are the queries, by inner product.
        test: held-out interactions.
        k: neighbors per query.
        target: the share of the true k best to find, in (0, 1].
        queries: the number of users to draw.
        indexes: names of segue's indexes, None for all; exact search always takes part.
        peers: parts of the names of other libraries, such as "hnswlib"; None for all that are installed.
        seed: random seed of the draw.
        progress: called with the number of indexes measured so far.

    Raises `SettingError` for unknown names and a target that is not a share.
    """
    names, libraries, absent = _select(indexes, peers, target)
    check_k(k)
    check_k(queries, "queries")
    items, sample = recommender.embeddings.items, _draw(recommender.embeddings.users, queries, seed)
    k = min(k, len(items))
    truth, count = GroundTruth(items, sample, "dot"), threads.available()
    (kth,) = truth.kth_scores((k,), count)
    held = None if test is None else hold(recommender, test)
    searches = _build(names, libraries, items, sample, k, progress)
    race(
        searches.runners,
        searches.sweeps,
        sample,
        k,
        lambda ids: truth.recall(ids, kth),
        target,
        ROUNDS,
        progress,
    )
    rows = [_row(runner, searches.indexes.get(runner.name), sample, k) for runner in searches.runners]
    if held is not None:
        _add_costs(rows, searches.indexes, held, recommender, k, progress)
    curves: list[CurveRow] = [
        {**runner.row(), "ours": runner.name in searches.indexes} for runner in searches.runners
    ]
    return Comparison(rows, curves, k, target, len(items), len(sample), count, absent)


def _draw(users: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return a random sample of the users whose vector is not zero."""
    users = users[np.asarray(users.any(1))]
    sample: np.ndarray = users[np.random.default_rng(seed).permutation(len(users))[:count]]
    return sample


def _select(
    indexes: Iterable[str] | None, peers: Iterable[str] | None, target: float
) -> tuple[list[str], list[Peer], list[str]]:
    """Return segue's indexes, the installed libraries, and the packages that are not installed."""
    if not 0 < target <= 1:
        raise SettingError(f"target={target!r} must be above 0 and at most 1", arguments=("target",))
    names = list(dict.fromkeys(["exact", *(concrete_indexes() if indexes is None else indexes)]))
    for name in names:
        if name not in concrete_indexes():
            raise SettingError(f"there is no index {name!r}; there are {', '.join(concrete_indexes())}")
    parts = None if peers is None else list(peers)
    for part in parts or ():
        if not any(part in name for name in PEERS):
            raise SettingError(f"there is no library {part!r}; there are {', '.join(PEERS)}")
    selected = [] if parts == [] else select_peers(parts or [], "dot")
    installed = [peer for peer in selected if not peer.absent()]
    absent = {peer.package for peer in selected} - {peer.package for peer in installed}
    return names, installed, sorted(absent)


def _build(
    names: list[str],
    libraries: list[Peer],
    items: np.ndarray,
    queries: np.ndarray,
    k: int,
    progress: Progress,
) -> _Searches:
    """Build all indexes."""
    searches = _Searches([], {}, {})
    total = len(names) + len(libraries)
    for place, name in enumerate(names):
        progress("building", place, total)
        runner, index = build_index(INDEXES[name](), name, items, queries)
        searches.runners.append(runner)
        searches.indexes[name] = index
        searches.sweeps[name] = [[*index.efforts(k)] or [None]]
    for place, peer in enumerate(libraries, len(names)):
        progress("building", place, total)
        searches.runners.append(build_peer(peer, items, "dot", threads.available(), None))
        searches.sweeps[peer.name] = peer.sweeps(len(items), k)
    progress("building", total, total)
    return searches


def _row(runner: Runner, index: Index | None, queries: np.ndarray, k: int) -> IndexRow:
    """Return the measurements of a runner; `index` is None for other libraries."""
    row = runner.row()
    setting = row["setting"]
    size = None if index is None else sum(array.nbytes for array in index.arrays().values()) / 2**20
    return {
        "index": runner.name,
        "ours": index is not None,
        "reached": row["reached"],
        "setting": "" if setting is None else str(setting),
        "effort": setting if isinstance(setting, int) and index is not None else None,
        "recall": row["recall"],
        "us": row["us"],
        "single_us": round(single_microseconds(runner.search, queries[:SINGLE_QUERIES], k, setting), 1),
        "build_s": row["build_s"],
        "mib": size,
    }


def _add_costs(
    rows: list[IndexRow],
    indexes: dict[str, Index],
    held: Held,
    recommender: TrainedRecommender,
    k: int,
    progress: Progress,
) -> None:
    """Add NDCG@k and recall@k on the held-out interactions, and their differences from exact search."""
    ndcg, recall = f"ndcg@{k}", f"recall@{k}"
    exact = None
    for row in rows:
        if not row["ours"]:
            continue
        scorer = _scorer(indexes[row["index"]], row["effort"], held, recommender, k)
        metrics = held.measured(scorer, (k,), row["index"], progress=progress)
        exact = metrics if exact is None else exact
        row["ndcg_test"], row["recall_test"] = metrics[ndcg], metrics[recall]
        row["ndcg_cost"], row["ndcg_cost_error"] = difference(metrics, exact, ndcg)
        row["recall_cost"], row["recall_cost_error"] = difference(metrics, exact, recall)


def _scorer(index: Index, effort: int | None, held: Held, recommender: TrainedRecommender, k: int) -> Scorer:
    """Return a scorer that gives the k items that an index finds their scores, and all others -inf."""
    users = recommender.embeddings.users

    def score(part: np.ndarray) -> np.ndarray:
        neighbors = index.search(users[held.rows[part]], k, exclude=held.known[part], effort=effort)
        scores = np.full((len(part), len(index)), -np.inf, np.float32)
        query, place = np.nonzero(neighbors.ids >= 0)
        scores[query, neighbors.ids[query, place]] = neighbors.scores[query, place]
        return scores

    return score
