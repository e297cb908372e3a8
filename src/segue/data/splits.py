"""Train-test splits: each returns a mask over the stored entries of a CSR matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segue.errors import DataError, SettingError
from segue.types import CSR

Mask = np.ndarray  # (nnz,) bool, True where the entry is for testing


def random_split(matrix: CSR, times: np.ndarray | None, test: float, seed: int) -> Mask:
    """Hold out a random share of all interactions (LightFM's `random_train_test_split`)."""
    mask = np.zeros(matrix.nnz, bool)
    shuffled = np.random.default_rng(seed).permutation(matrix.nnz)
    mask[shuffled[int((1.0 - _share(test)) * matrix.nnz) :]] = True
    return mask


def time_split(matrix: CSR, times: np.ndarray | None, test: float, seed: int) -> Mask:
    """Hold out everything after one moment, the (1 - test) quantile of the times."""
    known = _need_times(times)
    moment = np.quantile(known, 1.0 - _share(test), method="inverted_cdf")
    mask = np.asarray(known > moment)
    return mask if mask.any() else np.asarray(known == known.max())


def last_split(matrix: CSR, times: np.ndarray | None, test: float, seed: int) -> Mask:
    """Hold out the last interactions of each user: `test` of them, or a share if it is below 1.

    At least one interaction of each user stays for training. Ties in time are broken by item row.
    """
    known = _need_times(times)
    if test <= 0 or (test >= 1 and test != int(test)):
        raise SettingError(
            f"test={test} for by='last' must be a share below 1 or a whole number of interactions",
            arguments=("test", "by"),
        )
    counts = np.diff(matrix.indptr)
    held_out = np.floor(counts * test).astype(np.int64) if test < 1 else np.full(len(counts), int(test))
    held_out = np.minimum(np.maximum(held_out, 1), np.maximum(counts - 1, 0))
    users = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort(
        (matrix.indices, known, users)
    )  # by user, then by time, so that each user keeps their range of entries
    from_end = np.repeat(matrix.indptr[1:], counts) - np.arange(matrix.nnz)
    mask = np.zeros(matrix.nnz, bool)
    mask[order] = from_end <= np.repeat(held_out, counts)
    return mask


def users_split(matrix: CSR, times: np.ndarray | None, test: float, seed: int) -> Mask:
    """Hold out a random share of the users with all their interactions (strong generalization)."""
    active = np.flatnonzero(np.diff(matrix.indptr))
    held_out = np.random.default_rng(seed).permutation(active)[: max(1, round(_share(test) * len(active)))]
    chosen = np.zeros(matrix.shape[0], bool)
    chosen[held_out] = True
    return np.asarray(np.repeat(chosen, np.diff(matrix.indptr)))


SPLITS: dict[str, Callable[[CSR, np.ndarray | None, float, int], Mask]] = {
    "random": random_split,
    "time": time_split,
    "last": last_split,
    "users": users_split,
}
DEFAULT_TEST = {"random": 0.2, "time": 0.2, "last": 1, "users": 0.2}


def split_mask(matrix: CSR, times: np.ndarray | None, test: float | None, by: str, seed: int) -> Mask:
    """Apply the split named `by` and return its mask; `test=None` is the default of that split.

    Raises:
        SettingError: an unknown split, or a `test` that it does not accept.
        DataError: one side is empty, or the split needs times and there are none.
    """
    if by not in SPLITS:
        raise SettingError(
            f"by={by!r} is not a split; choose one of {', '.join(map(repr, SPLITS))}", arguments=("by",)
        )
    test = DEFAULT_TEST[by] if test is None else test
    mask = SPLITS[by](matrix, times, test, seed)
    if mask.all() or not mask.any():
        empty = "training" if mask.all() else "test"
        raise DataError(
            f"splitting {matrix.nnz:,} interactions by {by!r} with test={test} leaves the {empty} side "
            "empty; there are too few interactions, or (by time) all have the same time",
            arguments=("test",),
        )
    return mask


def _share(test: float) -> float:
    if not 0 < test < 1:
        raise SettingError(f"test={test} must be a share between 0 and 1, such as 0.2", arguments=("test",))
    return float(test)


def _need_times(times: np.ndarray | None) -> np.ndarray:
    if times is None:
        raise DataError("this split needs the time of each interaction: read the data with a time column")
    return times
