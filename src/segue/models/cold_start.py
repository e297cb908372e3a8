"""Vectors of new rows, predicted by a regression on trained rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from segue.models.base import FoldIn
from segue.models.embeddings import Embeddings
from segue.models.updates import Update
from segue.numerics.blas import on_one_thread
from segue.types import CSR

RIDGE = 1e-3  # penalty of the regression, relative to the mean squared regressor


def update_by_regression(
    update: Update, prepare: Callable[[np.ndarray], FoldIn], *, user_means: bool = False
) -> Embeddings:
    """Return the updated embeddings of a model that folds users in but has no equation for items.

    Users without a vector are folded in with the known items. A regression then predicts the items that are
    new, and all users with new interactions are folded in again.

    Args:
        update: the new interactions.
        prepare: returns the fold-in for item vectors.
        user_means: whether user vectors are the means of their items' vectors.
    """
    matrix, changed = update.interactions.matrix, update.changed_users
    users, items = update.embeddings.users.copy(), update.embeddings.items.copy()
    new_items = update.grown_items(1.0)
    without_vector = changed[~users[changed].any(1)]
    users[without_vector] = prepare(items).fold_in(matrix[without_vector])
    if len(new_items):
        by_item = sp.csr_matrix(matrix.T)
        own_share = None
        if user_means:  # the mean over its users contains a trained item itself, but not a new one
            shares = 1 / np.maximum(np.diff(matrix.indptr), 1)
            own_share = by_item.astype(bool) @ shares / np.maximum(np.diff(by_item.indptr), 1)
        items[new_items] = predict_vectors(items, users, by_item, by_item[new_items], own_share)
    users[changed] = prepare(items).fold_in(matrix[changed])
    return replace(update.embeddings, users=users, items=items)


def predict_vectors(
    vectors: np.ndarray, others: np.ndarray, known: CSR, new: CSR, own_share: np.ndarray | None = None
) -> np.ndarray:
    """Predict the vectors (q, dim) float32 of rows that were not in the training data.

    A ridge regression on the trained rows predicts a row's vector from the mean vector of the rows of the
    other side that it interacts with, and from the logarithm of their number. A plain mean would put new rows
    too close to the center. After Gantner et al., "Learning attribute-to-feature mappings for cold-start
    recommendations" (ICDM 2010).

    Args:
        vectors: (n, dim) float32 vectors of this side; rows of zeros are not trained on.
        others: (m, dim) float32 vectors of the other side.
        known: interactions of this side, n × m CSR.
        new: interactions of the new rows, q × m CSR. Rows without interactions get zeros.
        own_share: (n,) the share of a trained row's own vector in its mean, which is subtracted.
    """
    with on_one_thread():
        trained = vectors.any(1) & (np.diff(known.indptr) > 0)
        z = _regressors(known, others)
        if own_share is not None:
            z[:, : vectors.shape[1]] -= own_share[:, None] * vectors
        z = z[trained]
        gram = z.T @ z
        gram[np.diag_indices(len(gram))] += RIDGE * np.trace(gram) / len(gram)
        weights = np.linalg.solve(gram, z.T @ vectors[trained].astype(np.float64))
        predicted = _regressors(new, others) @ weights
    predicted[np.diff(new.indptr) == 0] = 0
    return predicted.astype(np.float32)


def _regressors(rows: CSR, others: np.ndarray) -> np.ndarray:
    """Return the mean vector, the log count and a constant for each row: (n, dim + 2) float64."""
    counts = np.diff(rows.indptr)
    shares = np.repeat(1 / np.maximum(counts, 1), counts)
    means = sp.csr_matrix((shares, rows.indices, rows.indptr), rows.shape) @ others.astype(np.float64)
    return np.column_stack([means, np.log1p(counts), np.ones(len(counts))])
