"""LightFM's four metrics, each a number for each user."""

from __future__ import annotations

import numpy as np

from segue.compat.lightfm.lightfm import LightFM
from segue.types import CSR


def precision_at_k(
    model: LightFM,
    test_interactions: CSR,
    train_interactions: CSR | None = None,
    k: int = 10,
    user_features: CSR | None = None,
    item_features: CSR | None = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> np.ndarray:
    """Precision at k of each user: the share of the k best items that are in the test set.

    Args:
        model: a fitted `LightFM`.
        test_interactions: users × items, sparse; its entries are the positives.
        train_interactions: users × items, sparse; its entries are left out of the ranking.
        k: how many items at the top count.
        user_features, item_features: sparse, a row for each user or item, as the model was fitted with.
        preserve_rows: return a number for every user instead of those with test interactions only.
        num_threads: how many threads to use.
        check_intersections: raise where test and train share interactions.

    Returns (users with test interactions,) float32, or (users,) with `preserve_rows`: 0 where there are none.

    Raises `DataError` and `SettingError`, both `ValueError`, as `LightFM.predict_rank` does.
    """
    ranks = model.predict_rank(
        test_interactions, train_interactions, item_features, user_features, num_threads, check_intersections
    )
    hits = _sums(ranks, ranks.data < k)
    return _kept((hits / k).astype(np.float32), ranks, preserve_rows)


def recall_at_k(
    model: LightFM,
    test_interactions: CSR,
    train_interactions: CSR | None = None,
    k: int = 10,
    user_features: CSR | None = None,
    item_features: CSR | None = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> np.ndarray:
    """Recall at k of each user: the share of the test set's items that are among the k best, float64.

    Arguments, shape and errors are those of `precision_at_k`.
    """
    ranks = model.predict_rank(
        test_interactions, train_interactions, item_features, user_features, num_threads, check_intersections
    )
    recall = _sums(ranks, ranks.data < k) / np.maximum(1, np.diff(ranks.indptr))
    return _kept(recall, ranks, preserve_rows)


def auc_score(
    model: LightFM,
    test_interactions: CSR,
    train_interactions: CSR | None = None,
    user_features: CSR | None = None,
    item_features: CSR | None = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> np.ndarray:
    """Area under the ROC curve of each user: how likely a positive stands before a negative.

    Arguments, shape and errors are those of `precision_at_k`. Users without test interactions, or without
    negatives, get 0.5.
    """
    ranks = model.predict_rank(
        test_interactions, train_interactions, item_features, user_features, num_threads, check_intersections
    )
    positives = np.diff(ranks.indptr)
    negatives = ranks.shape[1] - positives
    if train_interactions is not None:
        negatives = negatives - np.diff(train_interactions.tocsr().indptr)
    users = np.repeat(np.arange(len(positives)), positives)
    ordered = ranks.data[np.lexsort((ranks.data, users))]
    before = np.arange(len(users)) - np.repeat(ranks.indptr[:-1], positives)  # positives that stand before
    above = np.maximum(0, ordered - before) / np.repeat(np.maximum(1, negatives), positives)
    auc = _sums(ranks, 1 - above) / np.maximum(1, positives)
    auc = np.where((positives == 0) | (negatives <= 0), 0.5, auc).astype(np.float32)
    return _kept(auc, ranks, preserve_rows)


def reciprocal_rank(
    model: LightFM,
    test_interactions: CSR,
    train_interactions: CSR | None = None,
    user_features: CSR | None = None,
    item_features: CSR | None = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> np.ndarray:
    """Reciprocal rank of each user: 1 / the position of the first positive.

    Arguments, shape and errors are those of `precision_at_k`. Users without test interactions get 0.
    """
    ranks = model.predict_rank(
        test_interactions, train_interactions, item_features, user_features, num_threads, check_intersections
    )
    best = np.zeros(ranks.shape[0], np.float32)
    users = np.repeat(np.arange(len(best)), np.diff(ranks.indptr))
    np.maximum.at(best, users, 1 / (1 + ranks.data))
    return _kept(best, ranks, preserve_rows)


def _sums(ranks: CSR, values: np.ndarray) -> np.ndarray:
    """The sum of the values of each user's entries."""
    users = np.repeat(np.arange(ranks.shape[0]), np.diff(ranks.indptr))
    return np.bincount(users, values, minlength=ranks.shape[0])


def _kept(values: np.ndarray, ranks: CSR, preserve_rows: bool) -> np.ndarray:
    return values if preserve_rows else values[np.diff(ranks.indptr) > 0]
