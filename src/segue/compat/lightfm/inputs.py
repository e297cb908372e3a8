"""The matrices that LightFM's methods take, checked and brought into one form."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from segue.compat.lightfm.errors import UnsupportedError
from segue.errors import DataError, SettingError
from segue.kernels.arrays import readonly
from segue.kernels.sgd import Pairs


def rows_of(matrix: Any, what: str) -> sp.csr_matrix:
    """A sparse matrix as CSR float32."""
    return _sparse(matrix, what).tocsr().astype(np.float32, copy=False)


def entries_of(interactions: Any) -> sp.coo_matrix:
    """Interactions as COO float32; entries that occur more than once stay apart."""
    pairs = _sparse(interactions, "interactions").tocoo()
    data = pairs.data.astype(np.float32, copy=False)  # the matrix's own astype would add them up
    return sp.coo_matrix((data, (pairs.row, pairs.col)), pairs.shape)


def weights_of(interactions: sp.coo_matrix, sample_weight: Any, loss: str) -> np.ndarray:
    """The weight of each entry, ones where none are given."""
    if sample_weight is None:
        return np.ones(len(interactions.data), np.float32)
    if loss == "warp-kos":
        raise UnsupportedError("the loss 'warp-kos' takes no sample_weight; take 'warp', or leave it out")
    if not sp.issparse(sample_weight) or sample_weight.format != "coo":
        raise DataError(
            f"sample_weight must be a scipy.sparse COO matrix, not {type(sample_weight).__name__}: "
            "call .tocoo() on the matrix that the interactions come from"
        )
    if sample_weight.shape != interactions.shape:
        raise DataError(
            f"sample_weight of shape {sample_weight.shape} must have the shape of the interactions, "
            f"{interactions.shape}"
        )
    if not (
        np.array_equal(interactions.row, sample_weight.row)
        and np.array_equal(interactions.col, sample_weight.col)
    ):
        raise DataError(
            "sample_weight must have the entries of the interactions in the same order: its row and col must "
            "equal theirs"
        )
    weights: np.ndarray = sample_weight.data.astype(np.float32)
    if loss == "logistic" and (weights < 0).any():
        raise DataError(
            f"sample_weight must not be negative for the loss 'logistic', but the least is {weights.min()}; "
            "give dislikes as interactions of -1"
        )
    return weights


def features_of(matrix: Any, count: int, side: str, known: int | None) -> sp.csr_matrix | None:
    """Features of users or items as CSR float32, None for the identity.

    Args:
        matrix: a row for each of at least `count` users or items, or None.
        count: how many there are.
        side: "user" or "item".
        known: how many features the model has, None before training.
    """
    features = None if matrix is None else rows_of(matrix, f"{side}_features")
    rows, columns = (count, count) if features is None else features.shape
    if rows < count:
        raise DataError(f"{side}_features has {rows:,} rows, but there are {count:,} {side}s")
    if known is not None and columns > known:
        raise DataError(
            f"{side}_features has {columns:,} features, but the model was trained with {known:,}"
            if features is not None
            else f"there are {columns:,} {side}s, but the model was trained with {known:,} {side} features; "
            f"pass the {side}_features that it was trained with"
        )
    own = features is None or (rows == count and _is_identity(features))
    return None if own else features


def columns_of(features: sp.csr_matrix | None, count: int) -> int:
    """How many features there are; the identity has as many as rows."""
    return count if features is None else int(features.shape[1])


def check_finite(what: str, data: np.ndarray) -> None:
    """Raise where an input holds NaN or infinity."""
    if not np.isfinite(data).all():
        raise DataError(f"{what} must be finite, but has NaN or infinite values")


def check_threads(num_threads: int) -> None:
    """Raise where there is no thread to work."""
    if num_threads < 1:
        raise SettingError(f"num_threads={num_threads!r} must be 1 or larger")


def pairs_of(interactions: sp.coo_matrix, weights: np.ndarray) -> Pairs:
    """Interactions as the kernels take them, sorted by user and item; those of weight 0 are known only."""
    rows, columns = interactions.row.astype(np.int64), interactions.col.astype(np.int32)
    places = rows * interactions.shape[1] + columns
    if (places[1:] < places[:-1]).any():
        order = np.argsort(places, kind="stable")
        columns, weights = columns[order], weights[order]
    indptr = np.zeros(interactions.shape[0] + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=interactions.shape[0]), out=indptr[1:])
    return Pairs(readonly(columns), readonly(weights), readonly(indptr), np.arange(interactions.shape[0]))


def ids_of(given: Any, what: str) -> np.ndarray:
    """Rows of users or items, as they come; raises where they are no list of numbers."""
    ids = np.asarray(given)
    if ids.ndim != 1 or ids.dtype.kind not in "iuf":
        raise DataError(f"{what} must be a list or an array of row numbers, not {given!r}")
    return ids


def _sparse(matrix: Any, what: str) -> Any:
    if not sp.issparse(matrix):
        raise DataError(f"{what} must be a scipy.sparse matrix, not {type(matrix).__name__}")
    return matrix


def _is_identity(features: sp.csr_matrix) -> bool:
    rows, columns = features.shape
    return (
        rows == columns == features.nnz
        and bool((features.indices == np.arange(rows)).all() and (features.data == 1).all())
        and bool((np.diff(features.indptr) == 1).all())
    )
