"""Which interactions are for testing: each split returns a mask over the stored entries of a CSR matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from segue.errors import DataError, SettingError

Mask = np.ndarray  # (nnz,) bool, True where the entry is for testing


def random_split(matrix: Any, times: np.ndarray | None, test: float, seed: int) -> Mask:
    """Every interaction alike: a random share of all of them (LightFM's `random_train_test_split`)."""
    mask = np.zeros(matrix.nnz, bool)
    shuffled = np.random.default_rng(seed).permutation(matrix.nnz)
    mask[shuffled[int((1.0 - _share(test)) * matrix.nnz) :]] = True
    return mask


def time_split(matrix: Any, times: np.ndarray | None, test: float, seed: int) -> Mask:
    """Everything from one moment on: the moment is the (1 - test) quantile of the times."""
    known = _need_times(times)
    moment = np.quantile(known, 1.0 - _share(test), method="inverted_cdf")
    mask = np.asarray(known > moment)
    return mask if mask.any() else np.asarray(known == known.max())


def last_split(matrix: Any, times: np.ndarray | None, test: float, seed: int) -> Mask:
    """The last interactions of every user: so many (an integer), or a share of the user's (below 1).

    At least one interaction of each user stays for training. Equal times are cut by item row.
    """
    known = _need_times(times)
    if test <= 0 or (test >= 1 and test != int(test)):
        raise SettingError(
            f"test={test} for by='last' must be a share below 1 or a whole number of interactions"
        )
    counts = np.diff(matrix.indptr)
    wanted = np.floor(counts * test).astype(np.int64) if test < 1 else np.full(len(counts), int(test))
    wanted = np.minimum(np.maximum(wanted, 1), np.maximum(counts - 1, 0))
    users = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((matrix.indices, known, users))  # by user, then time: each user keeps its own range
    from_end = np.repeat(matrix.indptr[1:], counts) - np.arange(matrix.nnz)
    mask = np.zeros(matrix.nnz, bool)
    mask[order] = from_end <= np.repeat(wanted, counts)
    return mask


def users_split(matrix: Any, times: np.ndarray | None, test: float, seed: int) -> Mask:
    """Whole users (strong generalisation): a random share of them, with all that they did."""
    active = np.flatnonzero(np.diff(matrix.indptr))
    held = np.random.default_rng(seed).permutation(active)[: max(1, round(_share(test) * len(active)))]
    chosen = np.zeros(matrix.shape[0], bool)
    chosen[held] = True
    return np.asarray(np.repeat(chosen, np.diff(matrix.indptr)))


SPLITS: dict[str, Callable[[Any, np.ndarray | None, float, int], Mask]] = {
    "random": random_split,
    "time": time_split,
    "last": last_split,
    "users": users_split,
}
DEFAULT_TEST = {"random": 0.2, "time": 0.2, "last": 1, "users": 0.2}


def split_mask(matrix: Any, times: np.ndarray | None, test: float | None, by: str, seed: int) -> Mask:
    """Look the split up by name, apply it, and refuse one that leaves a side empty."""
    if by not in SPLITS:
        raise SettingError(f"by={by!r} is not a split; there are {', '.join(map(repr, SPLITS))}")
    mask = SPLITS[by](matrix, times, DEFAULT_TEST[by] if test is None else test, seed)
    if mask.all() or not mask.any():
        empty = "training" if mask.all() else "test"
        raise DataError(
            f"splitting {matrix.nnz:,} interactions by {by!r} with test={test} leaves the {empty} side "
            "empty; there are too few of them, or (by time) they all carry the same time"
        )
    return mask


def _share(test: float) -> float:
    if not 0 < test < 1:
        raise SettingError(f"test={test} must be a share between 0 and 1, such as 0.2")
    return float(test)


def _need_times(times: np.ndarray | None) -> np.ndarray:
    if times is None:
        raise DataError(
            "this split needs to know when each interaction was: read the data with a time column"
        )
    return times
