"""Histories of users who are not in the training data: ids and weights in, a checked CSR out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import scipy.sparse as sp

from segue.data.ids import Id, IdMap
from segue.errors import DataError
from segue.recommender.frames import as_series
from segue.types import CSR


def check_history(
    history: Iterable[Id] | Mapping[Id, float],
    items: IdMap,
    *,
    needs_ratings: bool,
    on_unknown: str = "raise",
) -> CSR:
    """Return a history as a CSR (1 × items) of weights.

    Args:
        history: ids of items, which then count 1 each, or a mapping of ids to weights.
        items: the items of the model.
        needs_ratings: whether the model learns from ratings, so that a list of ids says too little.
        on_unknown: "raise" for an error, else unknown ids are ignored.

    Raises `DataError` for weights that are negative or not finite, and for a list of ids if the model learns
    from ratings; `UnknownIdError` for unknown ids.
    """
    if needs_ratings and not isinstance(history, Mapping):
        raise DataError(
            "the model learns from ratings, and a list of items has none; give the history as a mapping of "
            "items to ratings, {item: rating}",
            arguments=("history",),
        )
    ids = as_series(list(history) if isinstance(history, Mapping) else history)
    weights = _check_weights(history) if isinstance(history, Mapping) else np.ones(len(ids), np.float32)
    rows = items.require(ids) if on_unknown == "raise" else items.rows(ids)
    valid = (rows >= 0) & (weights > 0)
    matrix = sp.csr_matrix((weights[valid], (np.zeros(valid.sum(), np.int32), rows[valid])), (1, len(items)))
    matrix.sort_indices()
    return matrix


def _check_weights(history: Mapping[Id, float]) -> np.ndarray:
    for item, weight in history.items():
        if not isinstance(weight, (int, float, np.number)) or not 0 <= weight < np.inf:
            raise DataError(
                f"the weight of item {item!r} in the history is {weight!r}; weights must be finite numbers "
                "of at least 0",
                arguments=("history",),
            )
    return np.array(list(history.values()), np.float32)
