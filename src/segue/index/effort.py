"""The least effort with which an approximate index reaches a recall on a sample of queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from segue.errors import SettingError
from segue.index.base import check_k

TYPICAL_K = 10  # answers to a query, by which recall is measured
CHANCE = 2.0  # standard errors of the sample by which its recall must exceed what is aimed at


def check_counts(settings: Any, *names: str) -> None:
    """Raise `SettingError` unless each of these settings is a whole number of at least 1, or None."""
    for name in names:
        value = getattr(settings, name)
        if value is not None:
            check_k(value, f"{type(settings).__name__}: {name}")


def check_recall(settings: Any) -> None:
    """Raise `SettingError` unless the recall that is aimed at is one."""
    recall = settings.recall
    if isinstance(recall, bool) or not isinstance(recall, (int, float)) or not 0 < recall <= 1:
        raise SettingError(f"{type(settings).__name__}: recall={recall!r} must be above 0 and at most 1")


def least_effort(index: Any, queries: np.ndarray | None, most: int, recall: float, count: int) -> int:
    """The least effort that surely finds a share `recall` of what `most` finds, which is everything.

    The sample must find more, by what it may owe to chance. Asked are `count` of the queries (q, dim), or of
    the index's vectors, if there are none, for their neighbours but themselves.
    """
    pool = index.vectors if queries is None or not len(queries) else queries
    drawn = np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).astype(np.int64))
    selves = None
    if pool is index.vectors:
        shape = (len(drawn), len(pool))
        selves = sp.csr_matrix((np.ones(len(drawn), np.float32), drawn, np.arange(len(drawn) + 1)), shape)

    def found(effort: int) -> np.ndarray:
        scores: np.ndarray = index.search(pool[drawn], TYPICAL_K, exclude=selves, effort=effort).scores
        return scores

    best = found(most)
    there = best > -np.inf
    low, high = 0, most
    while recall < 1 and high - low > 1:
        middle = max(low + 1, int(np.sqrt(max(low, 1) * high)))
        right = (found(middle) >= best[:, -1:]) & there
        spare = right.sum(1) - recall * there.sum(1)
        enough = spare.sum() >= CHANCE * spare.std() * np.sqrt(len(spare))
        low, high = (low, middle) if enough else (middle, high)
    return high
