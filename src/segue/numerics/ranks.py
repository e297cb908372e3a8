"""Positions of held-out items in full rankings, and the NDCG that early stopping uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from segue.errors import DataError, SettingError
from segue.kernels.ranks import rank_rows
from segue.kernels.threads import run
from segue.progress import Progress, silent

Scorer = Callable[[np.ndarray], np.ndarray]
"""User rows (q,) to scores (q, n_items) float32 of all items, higher is better."""

BLOCK_BYTES = 64 << 20  # size of a block of scores


@dataclass(frozen=True, eq=False)
class Ranks:
    """Positions of each user's held-out items among the items that were ranked for the user.

    The order is by score descending, then item row ascending; positions count from 1.

    Attributes:
        users: (u,) int64, rows of the users with at least one held-out item.
        indptr: (u + 1,) int64; user j has the entries `indptr[j]:indptr[j + 1]` of the next two.
        positions: (m,) int64, ascending within a user.
        middles: (m,) float64, the mean position of all items with the same score (for AUC).
        eligible: (u,) int64, the number of items ranked for each user.
        unknown: (u,) int64, held-out items that the model does not know; they have no position.
        top: (u, min(k, items)) int32, the first items in order, -1 where fewer were ranked.
        items: number of items in the catalog.
        k: depth of `top`.
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


def rank(
    scorer: Scorer,
    users: npt.ArrayLike,
    truth: sp.csr_matrix,
    exclude: sp.csr_matrix | None = None,
    *,
    k: int,
    unknown: npt.ArrayLike | None = None,
    progress: Progress = silent,
    threads: int | None = None,
) -> Ranks:
    """Rank all items for each user and locate the held-out ones (full ranking, no sampled candidates).

    Args:
        scorer: user rows (q,) to scores (q, n_items) float32; called with blocks of at most 64 MiB of scores.
        users: (q,) rows of the users to measure; users without a held-out item are dropped.
        truth: users × items CSR; every stored entry is a held-out item.
        exclude: users × items CSR of items that are neither ranked nor counted as held out, usually the
            training data. None ranks all items, training items included, which is LightFM's protocol.
        k: number of first items to keep (for coverage): the largest k to be measured.
        unknown: (q,) number of further held-out items of each user that the model does not know.
        progress: called with the number of users ranked so far.
        threads: number of threads, None for all; the result does not depend on it.

    Raises:
        DataError: the shapes do not fit, scores are NaN, or no user has a held-out item.
    """
    k = check_k(k)
    rows, held, masked, missing = _measured(users, truth, exclude, unknown)
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
        del work  # frees the block of scores before the next one is computed
        _check_scores(broken, rows[start:stop])
        progress("ranking", stop, len(rows))
    owner = np.repeat(np.arange(len(rows)), np.diff(held.indptr))
    order = np.lexsort((positions, owner))
    eligible = items - np.diff(masked.indptr).astype(np.int64)
    indptr = held.indptr.astype(np.int64)
    return Ranks(rows, indptr, positions[order], middles[order], eligible, missing, top, items, k)


def ndcg(ranks: Ranks, k: int) -> np.ndarray:
    """Return each user's NDCG of the first k positions with binary gains, (users,) float64.

    Held-out items that the model does not know count as misses.
    """
    known = np.diff(ranks.indptr)
    owner = np.repeat(np.arange(len(known)), known)
    hit = ranks.positions <= k
    gains = np.bincount(owner[hit], (1 / np.log2(ranks.positions + 1))[hit], len(known))
    depth = np.minimum(k, known + ranks.unknown)
    ideal = np.cumsum(1 / np.log2(np.arange(depth.max()) + 2))
    return np.asarray(gains / ideal[depth - 1])


def check_k(k: object) -> int:
    """Return a depth as an int. Raises `SettingError` unless it is a whole number of at least 1."""
    if isinstance(k, (bool, np.bool_)) or not isinstance(k, (int, np.integer)) or k < 1:
        raise SettingError(f"k={k!r} must be a whole number of at least 1", arguments=("k",))
    return int(k)


def _measured(
    users: npt.ArrayLike, truth: sp.csr_matrix, exclude: sp.csr_matrix | None, unknown: npt.ArrayLike | None
) -> tuple[np.ndarray, sp.csr_matrix, sp.csr_matrix, np.ndarray]:
    """Return the rows, held-out CSR, excluded CSR and unknown counts of users with held-out items."""
    rows = _check_users(users, truth.shape)
    if exclude is not None and exclude.shape != truth.shape:
        raise DataError(
            f"exclude {exclude.shape} and truth {truth.shape} must both be users × items, of one shape"
        )
    missing = np.zeros(len(rows), np.int64) if unknown is None else np.asarray(unknown)
    if missing.shape != rows.shape or missing.dtype.kind not in "iu" or missing.min() < 0:
        raise DataError(
            f"unknown must count items for each of the {len(rows):,} users: (q,) integers, none negative"
        )
    held = _binary_rows(truth, rows)
    masked = _binary_rows(sp.csr_matrix(truth.shape, dtype=np.int8) if exclude is None else exclude, rows)
    held = sp.csr_matrix(held - held.multiply(masked))
    held.eliminate_zeros()
    measured = (np.diff(held.indptr) > 0) | (missing > 0)
    if not measured.any():
        raise DataError(
            f"no held-out item to find for any of the {len(rows):,} users (excluded items do not count); "
            "measure users who have test items"
        )
    return rows[measured], held[measured], masked[measured], missing[measured].astype(np.int64)


def _check_users(users: npt.ArrayLike, shape: tuple[int, int]) -> np.ndarray:
    rows = np.asarray(users)
    if rows.size == 0 or 0 in shape:
        raise DataError(f"nothing to measure: {rows.size} users, and truth of shape {shape} (users × items)")
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= shape[0]:
        raise DataError(f"users must be rows, (q,) integers within 0..{shape[0] - 1}")
    return rows.astype(np.int64)


def _binary_rows(matrix: sp.csr_matrix, rows: np.ndarray) -> sp.csr_matrix:
    """Return a copy of some rows with all stored entries as ones, sorted, without duplicates."""
    selected = sp.csr_matrix(matrix)[rows]
    selected.sum_duplicates()
    return sp.csr_matrix((np.ones(selected.nnz, np.int8), selected.indices, selected.indptr), selected.shape)


def _scores(scorer: Scorer, users: np.ndarray, items: int) -> np.ndarray:
    scores = scorer(users)
    if scores.shape != (len(users), items) or scores.dtype != np.float32:
        raise DataError(
            f"the scorer must return ({len(users)}, {items}) float32, a row per user and a column per item, "
            f"not {scores.shape} {scores.dtype}"
        )
    return np.require(scores, requirements=["C", "W"])  # one memory layout, so that one kernel is compiled


def _check_scores(broken: np.ndarray, users: np.ndarray) -> None:
    if broken.any():
        raise DataError(
            f"the scores of user row {users[broken.argmax()]} hold NaN, which cannot be ranked; "
            "the model diverged or its vectors are damaged: fit it again with a smaller learning_rate "
            "or more regularization"
        )
