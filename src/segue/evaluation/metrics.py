"""How good rankings are: where the held-out items stand, and the metrics that are made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from segue.errors import DataError, SettingError
from segue.numerics.ranks import Ranks, check_k, ndcg


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
            f"k={depths[-1]} goes beyond these ranks, made with k={ranks.k}; rank with a larger k",
            arguments=("k",),
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
        made = tuple(sorted({check_k(k) for k in ks}))
    else:
        made = (check_k(ks),)
    if not made:
        raise SettingError("k names no depth; give at least one, such as k=(5, 10, 20)", arguments=("k",))
    return made


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
    return {
        "precision": hits / k,
        "recall": hits / relevant,
        "ndcg": ndcg(ranks, k),
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
