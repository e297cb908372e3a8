"""Checks and conversions of the matrices that LightFM's methods take."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from segue.compat.lightfm.errors import UnsupportedError
from segue.errors import DataError, SettingError
from segue.kernels.arrays import readonly
from segue.kernels.sgd import Pairs


def rows_of(matrix: sp.spmatrix, name: str) -> sp.csr_matrix:
    """Return a sparse matrix as CSR float32."""
    return _sparse(matrix, name).tocsr().astype(np.float32, copy=False)


def entries_of(interactions: sp.spmatrix) -> sp.coo_matrix:
    """Return interactions as COO float32; duplicate entries stay separate."""
    pairs = _sparse(interactions, "interactions").tocoo()
    data = pairs.data.astype(np.float32, copy=False)  # astype of the matrix would sum duplicates
    return sp.coo_matrix((data, (pairs.row, pairs.col)), pairs.shape)


def weights_of(interactions: sp.coo_matrix, sample_weight: sp.spmatrix | None, loss: str) -> np.ndarray:
    """Return the weight of each entry, ones if `sample_weight` is None."""
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


def features_of(matrix: sp.spmatrix | None, count: int, side: str, known: int | None) -> sp.csr_matrix | None:
    """Return features of users or items as CSR float32, None for the identity.

    Args:
        matrix: a row for each of at least `count` users or items, or None.
        count: number of users or items.
        side: "user" or "item".
        known: number of features of the model, None before training.
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
    identity = features is None or (rows == count and _is_identity(features))
    return None if identity else features


def columns_of(features: sp.csr_matrix | None, count: int) -> int:
    """Return the number of features; the identity has one for each row."""
    return count if features is None else int(features.shape[1])


def check_finite(name: str, data: np.ndarray) -> None:
    """Raise `DataError` for NaN or infinity."""
    if not np.isfinite(data).all():
        raise DataError(f"{name} must be finite, but has NaN or infinite values")


def check_threads(num_threads: int) -> None:
    """Raise `SettingError` for less than one thread."""
    if num_threads < 1:
        raise SettingError(f"num_threads={num_threads!r} must be 1 or larger")


def pairs_of(interactions: sp.coo_matrix, weights: np.ndarray) -> Pairs:
    """Return interactions for the kernels, sorted by user and item; weight 0 means: not a negative only."""
    rows, columns = interactions.row.astype(np.int64), interactions.col.astype(np.int32)
    places = rows * interactions.shape[1] + columns
    if (places[1:] < places[:-1]).any():
        order = np.argsort(places, kind="stable")
        columns, weights = columns[order], weights[order]
    indptr = np.zeros(interactions.shape[0] + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=interactions.shape[0]), out=indptr[1:])
    return Pairs(readonly(columns), readonly(weights), readonly(indptr), np.arange(interactions.shape[0]))


def ids_of(values: npt.ArrayLike, name: str) -> np.ndarray:
    """Return rows of users or items as an array. Raises `DataError` unless they are a list of numbers."""
    ids = np.asarray(values)
    if ids.ndim != 1 or ids.dtype.kind not in "iuf":
        raise DataError(f"{name} must be a list or an array of row numbers, not {values!r}")
    return ids


def _sparse(matrix: sp.spmatrix, name: str) -> sp.spmatrix:
    if not sp.issparse(matrix):
        raise DataError(f"{name} must be a scipy.sparse matrix, not {type(matrix).__name__}")
    return matrix


def _is_identity(features: sp.csr_matrix) -> bool:
    rows, columns = features.shape
    return (
        rows == columns == features.nnz
        and bool((features.indices == np.arange(rows)).all() and (features.data == 1).all())
        and bool((np.diff(features.indptr) == 1).all())
    )
