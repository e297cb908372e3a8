"""Parameters and interactions in the form of the kernels, and their conversion to rows of `Embeddings`."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from segue.kernels.arrays import aligned, readonly
from segue.kernels.sgd import Pairs, Side
from segue.models.sgd.settings import SGDSettings
from segue.types import CSR

Values: TypeAlias = tuple[np.ndarray, np.ndarray]  # vectors (rows, dim) and biases (rows,)

# Rows of embeddings are [x, b, 1] for users and [y, 1, b] for items: where the bias is after the vector.
USER_BIAS, ITEM_BIAS = 0, 1


def pairs_of(matrix: CSR) -> Pairs:
    """Return the entries of a users × items CSR with sorted indices, with the users in their order there.

    Weights are divided by their mean absolute value, so their unit does not matter.
    """
    weights = matrix.data / np.abs(matrix.data).mean()
    indptr, indices = matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False)
    return Pairs(readonly(indices), readonly(weights), readonly(indptr), np.arange(matrix.shape[0]))


def new_side(
    settings: SGDSettings,
    count: int,
    features: CSR | None,
    active: np.ndarray,
    start: Values | None,
    rng: np.random.Generator,
) -> Side:
    """Return parameters with random or given values.

    Args:
        settings: `dim` and `schedule`.
        count: number of users or items.
        features: count × features CSR, None if each user or item has parameters of its own.
        active: (count,) bool, the users or items with interactions; features without any of them start at
            zero.
        start: the values to start from, None for random ones.
        rng: the random generator.
    """
    rows = count if features is None else features.shape[1]
    slots = 2 if settings.schedule == "adagrad" else 3
    vectors, biases = aligned((rows, slots, settings.dim), np.float32), np.zeros((rows, slots), np.float32)
    if start is None:
        vectors[:, 0] = (rng.random((rows, settings.dim), np.float32) - 0.5) / settings.dim
        if features is not None:
            vectors[abs(features).T @ active == 0, 0] = 0
    else:
        vectors[:, 0], biases[:, 0] = start
    if settings.schedule == "adagrad":
        vectors[:, 1], biases[:, 1] = 1, 1
    return side_of(vectors, biases, features)


def side_of(vectors: np.ndarray, biases: np.ndarray, features: CSR | None) -> Side:
    """Return parameters with their features, None if they belong to users or items themselves."""
    if features is None:
        indptr, indices, weights = np.zeros(1, np.int64), np.zeros(1, np.int32), np.zeros(1, np.float32)
    else:
        indptr, indices = features.indptr.astype(np.int64), features.indices.astype(np.int32)
        weights = features.data.astype(np.float32)
    csr = readonly(indptr), readonly(indices), readonly(weights)
    return Side(vectors, biases, features is not None, *csr)


def join_columns(
    values: Values, features: CSR | None, *, bias_at: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return rows of embeddings, and the rows of their features if there are any.

    Args:
        values: of users or items, or of their features.
        features: CSR that sums up the features' rows, or None.
        bias_at: USER_BIAS or ITEM_BIAS.
    """
    vectors, biases = values
    dim = vectors.shape[1]
    rows = np.zeros((len(vectors), dim + 2), np.float32)
    rows[:, :dim], rows[:, dim + bias_at] = vectors, biases
    one_at = dim + 1 - bias_at
    if features is None:
        rows[:, one_at] = 1
        return rows, None
    sums = np.asarray(features @ rows, np.float32)
    sums[:, one_at] = np.diff(features.indptr) > 0
    return sums, rows


def split_columns(rows: np.ndarray, *, bias_at: int) -> Values:
    """Return the vectors and biases of rows of embeddings."""
    dim = rows.shape[1] - 2
    return rows[:, :dim], rows[:, dim + bias_at]
