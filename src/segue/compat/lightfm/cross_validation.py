"""Splitting of a matrix of interactions."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from segue.errors import DataError


def random_train_test_split(
    interactions: sp.spmatrix,
    test_percentage: float = 0.2,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[sp.coo_matrix, sp.coo_matrix]:
    """Split the entries of a sparse matrix at random into train and test, two COO matrices of its shape.

    Users and items of the test set may be absent from the training set. The same integer `random_state`
    splits a matrix of weights, whose entries stand in the same order, alike.

    Args:
        interactions: users × items, any sparse matrix.
        test_percentage: the share, from 0 to 1, that goes to the test set.
        random_state: seed, or generator that is drawn from.

    Raises `DataError`, a `ValueError`, where `interactions` is not sparse.
    """
    if not sp.issparse(interactions):
        raise DataError(
            f"interactions must be a scipy.sparse matrix (users × items), not {type(interactions).__name__}: "
            "wrap it in scipy.sparse.coo_matrix"
        )
    if not isinstance(random_state, np.random.RandomState):
        random_state = np.random.RandomState(random_state)
    pairs = interactions.tocoo()
    order = np.arange(pairs.nnz)
    random_state.shuffle(order)
    cut = int((1.0 - test_percentage) * pairs.nnz)
    train, test = (
        sp.coo_matrix((pairs.data[part], (pairs.row[part], pairs.col[part])), pairs.shape, dtype=pairs.dtype)
        for part in (order[:cut], order[cut:])
    )
    return train, test
