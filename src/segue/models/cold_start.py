"""Where new rows of one side stand, by a regression that the trained rows teach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from segue.models.embeddings import Embeddings
from segue.models.updates import Update
from segue.numerics.blas import on_one_thread

RIDGE = 1e-3  # of the mean size of a regressor


def placed_anew(change: Update, folding: Callable[[np.ndarray], Any], *, means: bool = False) -> Embeddings:
    """Take in what changed where histories fold in by `folding`, and new items are placed by regression.

    New users are folded in by the items there were, new items placed by all their users, and the users with
    new interactions folded in again. `means`: users are the means of their items' vectors.
    """
    matrix, moving = change.interactions.matrix, change.moving_users
    users, items = change.embeddings.users.copy(), change.embeddings.items.copy()
    fresh = change.grown_items(1.0)
    blank = moving[~users[moving].any(1)]
    users[blank] = folding(items).vectors(matrix[blank])
    if len(fresh):
        by_item = sp.csr_matrix(matrix.T)
        own = None
        if means:  # a trained item is in its users' vectors, a new one is not
            shares = 1 / np.maximum(np.diff(matrix.indptr), 1)
            own = by_item.astype(bool) @ shares / np.maximum(np.diff(by_item.indptr), 1)
        items[fresh] = placed(items, users, by_item, by_item[fresh], own)
    users[moving] = folding(items).vectors(matrix[moving])
    return replace(change.embeddings, users=users, items=items)


def placed(
    vectors: np.ndarray, others: np.ndarray, known: Any, new: Any, own: np.ndarray | None = None
) -> np.ndarray:
    """Predict the vectors (q, dim) float32 of rows that had no part in training.

    How the mean of the `others` that a row is with, and the logarithm of their number, lead to its vector is
    learned by ridge regression from the trained `vectors` (n, dim) and what they are with, `known`
    (n × others CSR). `new` (q × others CSR) is what the new rows are with. So new rows are as far from the
    crowd as trained rows of their kind, which a plain mean is not. `own` (n,) says how much of a trained row
    is in that mean, which is taken out. Rows with nothing get zeros. After Gantner et al., "Learning
    attribute-to-feature mappings for cold-start recommendations" (ICDM 2010).
    """
    with on_one_thread():
        told = vectors.any(1) & (np.diff(known.indptr) > 0)
        z = _regressors(known, others)
        if own is not None:
            z[:, : vectors.shape[1]] -= own[:, None] * vectors
        z = z[told]
        size = z.T @ z
        size[np.diag_indices(len(size))] += RIDGE * np.trace(size) / len(size)
        weights = np.linalg.solve(size, z.T @ vectors[told].astype(np.float64))
        made = _regressors(new, others) @ weights
    made[np.diff(new.indptr) == 0] = 0
    return made.astype(np.float32)


def _regressors(rows: Any, others: np.ndarray) -> np.ndarray:
    counts = np.diff(rows.indptr)
    shares = np.repeat(1 / np.maximum(counts, 1), counts)
    means = sp.csr_matrix((shares, rows.indices, rows.indptr), rows.shape) @ others.astype(np.float64)
    return np.column_stack([means, np.log1p(counts), np.ones(len(counts))])
