"""How good rankings are: where the held-out items stand, and the metrics that are made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.errors import DataError, SettingError
from segue.kernels.ranks import rank_rows
from segue.kernels.threads import run
from segue.progress import Progress, silent

Scorer = Callable[[np.ndarray], np.ndarray]
"""User rows (q,) to scores (q, n_items) float32 of all items, higher better."""

BLOCK_BYTES = 64 << 20  # of scores at a time


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where the held-out items of every measured user stand among the items that were eligible for the user.

    The order is by score descending, then item row ascending; positions count from 1.

    Attributes:
        users: (u,) int64, the rows of the users with at least one held-out item.
        indptr: (u + 1,) int64; user j has the entries `indptr[j]:indptr[j + 1]` of the next two.
        positions: (m,) int64, ascending within a user.
        middles: (m,) float64, the mean position of all items with the same score (for AUC).
        eligible: (u,) int64, the number of items that were ranked for the user.
        unknown: (u,) int64, held-out items that the model does not know, so that they have no position.
        top: (u, min(k, items)) int32, the first items in order, -1 where fewer were eligible.
        items: the number of items in the catalogue.
        k: the depth that was asked for.
    """

    users: np.ndarray
    indptr: np.ndarray
    positions: np.ndarray
    middles: np.ndarray
    eligible: np.ndarray
    unknown: np.ndarray
    top: np.ndarray
    items: int
    k: int


@dataclass(frozen=True, eq=False, repr=False)
class Metrics(Mapping[str, float]):
    """The metrics by name, such as `metrics["ndcg@10"]`: a mapping, in the order of its `frame`.

    Attributes:
        means: name to mean over users; "auc" has no depth, all other names end in "@k".
        errors: name to standard error of the mean; NaN for coverage, which is no mean, and for a single user.
        per_user: name to (users,) float64 in the order of `rows`; NaN where a user has no AUC.
        rows: (users,) int64, the rows of the measured users.
    """

    means: Mapping[str, float]
    errors: Mapping[str, float]
    per_user: Mapping[str, np.ndarray]
    rows: np.ndarray

    def __getitem__(self, name: str) -> float:
        return self.means[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.means)

    def __len__(self) -> int:
        return len(self.means)

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value:.4f}" for name, value in self.items())
        return f"Metrics({self.users:,} users: {told})"

    @property
    def users(self) -> int:
        """The number of users measured."""
        return len(self.rows)

    def frame(self) -> pl.DataFrame:
        """Return a row per metric: metric, k (null for AUC), value, error (null where there is none)."""
        names = [name.partition("@") for name in self]
        return pl.DataFrame(
            {
                "metric": [metric for metric, _, _ in names],
                "k": pl.Series([int(k) if k else None for _, _, k in names], dtype=pl.Int64),
                "value": pl.Series(list(self.means.values()), dtype=pl.Float64).fill_nan(None),
                "error": pl.Series([self.errors[name] for name in self], dtype=pl.Float64).fill_nan(None),
            }
        )


def rank(
    scorer: Scorer,
    users: Any,
    truth: Any,
    seen: Any = None,
    *,
    k: int,
    unknown: Any = None,
    progress: Progress = silent,
    threads: int | None = None,
) -> Ranks:
    """Rank all items for each user and find the held-out ones (full ranking, no sampled candidates).

    Args:
        scorer: user rows (q,) to scores (q, n_items) float32; asked for blocks of at most 64 MiB.
        users: (q,) rows of the users to measure; those without a held-out item are left out.
        truth: users × items CSR; every stored entry is a held-out item.
        seen: users × items CSR of items that are not ranked, nor counted as held out. None ranks all
            items, those of the training too, which is LightFM's protocol.
        k: how many of the first items to keep (for coverage): the largest k to be measured.
        unknown: (q,) how many more held-out items each user has that the model does not know.
        progress: told of the users ranked so far.
        threads: None uses what is there; the result is the same for any number.

    Raises `DataError` for shapes that do not fit, NaN scores, and where no user has a held-out item.
    """
    k = _check_k(k)
    rows, held, masked, missing = _to_measure(users, truth, seen, unknown)
    items = held.shape[1]
    positions, middles = np.empty(held.nnz, np.int64), np.empty(held.nnz)
    top = np.empty((len(rows), min(k, items)), np.int32)
    step = max(1, BLOCK_BYTES // (4 * items))
    for start in range(0, len(rows), step):
        stop = min(start + step, len(rows))
        broken = np.zeros(stop - start, bool)
        work = partial(
            rank_rows,
            _scores(scorer, rows[start:stop], items),
            held.indptr[start : stop + 1],
            held.indices,
            masked.indptr[start : stop + 1],
            masked.indices,
            positions,
            middles,
            top[start:stop],
            broken,
        )
        run(work, stop - start, threads=threads)
        del work  # and the block of scores with it, before the next is made
        _refuse(broken, rows[start:stop])
        progress("ranking", stop, len(rows))
    owner = np.repeat(np.arange(len(rows)), np.diff(held.indptr))
    order = np.lexsort((positions, owner))
    eligible = items - np.diff(masked.indptr).astype(np.int64)
    indptr = held.indptr.astype(np.int64)
    return Ranks(rows, indptr, positions[order], middles[order], eligible, missing, top, items, k)


def measure(ranks: Ranks, ks: int | Iterable[int] = (5, 10, 20)) -> Metrics:
    """Average what each user's ranking is worth, with the standard error std(ddof=1) / sqrt(users).

    For each k: precision, recall (divided by all held-out items of the user), ndcg (binary gains), map
    (average precision divided by min(k, held-out items)), mrr, hit_rate and coverage (the share of all
    items that are in anyone's first k); and auc over the full ranking, ties counted as half, of the users
    who have one. Held-out items that the model does not know count as misses everywhere but in auc.
    Raises `SettingError` for a k that is no whole number of at least 1, or beyond the depth of the ranks.
    """
    depths = check_ks(ks)
    if depths[-1] > ranks.k:
        raise SettingError(
            f"k={depths[-1]} goes beyond these ranks, made with k={ranks.k}; rank with a larger k"
        )
    at = [_at(ranks, k) for k in depths]
    per_user = {f"{name}@{k}": found[name] for name in at[0] for k, found in zip(depths, at, strict=True)}
    per_user["auc"] = _auc(ranks)
    averaged = {name: _mean(values) for name, values in per_user.items()}
    means = {name: mean for name, (mean, _) in averaged.items()}
    errors = {name: error for name, (_, error) in averaged.items()}
    for k in depths:
        listed = np.zeros(ranks.items, bool)
        first = ranks.top[:, :k]
        listed[first[first >= 0]] = True
        means[f"coverage@{k}"], errors[f"coverage@{k}"] = float(listed.mean()), float("nan")
    return Metrics(means, errors, per_user, ranks.users)


def rating_errors(predicted: np.ndarray, given: np.ndarray) -> tuple[float, float]:
    """Return the RMSE and the MAE of predicted (n,) against given ratings (n,).

    Raises `DataError` where there are not as many of both, or none.
    """
    if predicted.shape != given.shape or not given.size:
        raise DataError(
            f"{predicted.size:,} predictions do not fit {given.size:,} ratings; give one for each"
        )
    apart = predicted.astype(np.float64) - given
    return float(np.sqrt(np.mean(apart**2))), float(np.mean(np.abs(apart)))


def difference(a: Metrics, b: Metrics, name: str) -> tuple[float, float]:
    """Return the mean over users of a - b and its standard error, paired: both must be of the same users.

    Far tighter than what the two errors suggest, since hard users are hard for both.
    """
    if name not in a.per_user or name not in b.per_user:
        both = ", ".join(key for key in a.per_user if key in b.per_user)
        raise SettingError(f"{name!r} is not measured per user in both; there are {both}")
    if not np.array_equal(a.rows, b.rows):
        raise DataError(
            f"a paired difference needs the same users in the same order, but these are {a.users:,} and "
            f"{b.users:,} users who are not; measure both on the same test data"
        )
    return _mean(a.per_user[name] - b.per_user[name])


def check_ks(ks: int | Iterable[int]) -> tuple[int, ...]:
    """Return depths ascending, each once, or raise `SettingError`."""
    if isinstance(ks, Iterable) and not isinstance(ks, str):
        made = tuple(sorted({_check_k(k) for k in ks}))
    else:
        made = (_check_k(ks),)
    if not made:
        raise SettingError("k names no depth; give at least one, such as k=(5, 10, 20)")
    return made


def _check_k(k: Any) -> int:
    if isinstance(k, (bool, np.bool_)) or not isinstance(k, (int, np.integer)) or k < 1:
        raise SettingError(f"k={k!r} must be a whole number of at least 1")
    return int(k)


def _to_measure(users: Any, truth: Any, seen: Any, unknown: Any) -> tuple[np.ndarray, Any, Any, np.ndarray]:
    """Keep the users with held-out items: their rows, held-out and masked CSRs, and unknown counts."""
    rows = _check_users(users, truth.shape)
    if seen is not None and seen.shape != truth.shape:
        raise DataError(f"seen {seen.shape} and truth {truth.shape} must both be users × items, of one shape")
    missing = np.zeros(len(rows), np.int64) if unknown is None else np.asarray(unknown)
    if missing.shape != rows.shape or missing.dtype.kind not in "iu" or missing.min() < 0:
        raise DataError(
            f"unknown must count items for each of the {len(rows):,} users: (q,) integers, none negative"
        )
    held = _entries(truth, rows)
    masked = _entries(sp.csr_matrix(truth.shape, dtype=np.int8) if seen is None else seen, rows)
    held = sp.csr_matrix(held - held.multiply(masked))
    held.eliminate_zeros()
    kept = (np.diff(held.indptr) > 0) | (missing > 0)
    if not kept.any():
        raise DataError(
            f"no held-out item to find for any of the {len(rows):,} users (items that they "
            "had seen do not count); measure users who have test items"
        )
    return rows[kept], held[kept], masked[kept], missing[kept].astype(np.int64)


def _check_users(users: Any, shape: tuple[int, int]) -> np.ndarray:
    rows = np.asarray(users)
    if rows.size == 0 or 0 in shape:
        raise DataError(
            f"nothing to measure: {rows.size} users asked for, and truth of shape {shape} (users × items)"
        )
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= shape[0]:
        raise DataError(f"users must be rows, (q,) integers within 0..{shape[0] - 1}")
    return rows.astype(np.int64)


def _entries(matrix: Any, rows: np.ndarray) -> Any:
    """The stored entries of some rows as ones, sorted and each once; a copy."""
    made = sp.csr_matrix(matrix)[rows]
    made.sum_duplicates()
    return sp.csr_matrix((np.ones(made.nnz, np.int8), made.indices, made.indptr), made.shape)


def _scores(scorer: Scorer, users: np.ndarray, items: int) -> np.ndarray:
    scores = scorer(users)
    if scores.shape != (len(users), items) or scores.dtype != np.float32:
        raise DataError(
            f"the scorer must return ({len(users)}, {items}) float32, a row per user and a column per item, "
            f"not {scores.shape} {scores.dtype}"
        )
    return np.require(scores, requirements=["C", "W"])  # one layout, so that one kernel is compiled


def _refuse(broken: np.ndarray, users: np.ndarray) -> None:
    if broken.any():
        raise DataError(
            f"the scores of user row {users[broken.argmax()]} hold NaN, which has no place in a ranking; "
            "the model diverged or its vectors are damaged: fit it again with milder settings"
        )


def _at(ranks: Ranks, k: int) -> dict[str, np.ndarray]:
    """Each user's metrics over the first k positions, (users,) float64 each."""
    known = np.diff(ranks.indptr)
    owner = np.repeat(np.arange(len(known)), known)
    relevant = known + ranks.unknown
    nth = np.arange(len(owner)) - ranks.indptr[owner] + 1  # the held-out items up to and with this one
    hit = ranks.positions <= k

    def total(gains: np.ndarray) -> np.ndarray:
        return np.bincount(owner[hit], gains[hit], len(known))

    hits = total(np.ones(len(owner)))
    depth = np.minimum(k, relevant)
    ideal = np.cumsum(1 / np.log2(np.arange(depth.max()) + 2))
    return {
        "precision": hits / k,
        "recall": hits / relevant,
        "ndcg": total(1 / np.log2(ranks.positions + 1)) / ideal[depth - 1],
        "map": total(nth / ranks.positions) / depth,
        "mrr": total((nth == 1) / ranks.positions),
        "hit_rate": (hits > 0).astype(np.float64),
    }


def _auc(ranks: Ranks) -> np.ndarray:
    """Each user's share of (held-out, other) pairs in the right order; NaN where there is no such pair."""
    known = np.diff(ranks.indptr)
    owner = np.repeat(np.arange(len(known)), known)
    pairs = known * (ranks.eligible - known)
    right = pairs + known * (known + 1) / 2 - np.bincount(owner, ranks.middles, len(known))
    return np.where(pairs > 0, right / np.maximum(pairs, 1), np.nan)


def _mean(values: np.ndarray) -> tuple[float, float]:
    """The mean over the users who have a value, and its standard error."""
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return (float(known[0]) if len(known) else float("nan")), float("nan")
    return float(known.mean()), float(known.std(ddof=1) / np.sqrt(len(known)))
