"""Brute-force search among the members of a short allow list."""

from __future__ import annotations

import numpy as np

from segue.index.base import SearchPlan, SearchRequest
from segue.index.metric import Metric
from segue.kernels import measures
from segue.kernels.arrays import readonly

FEW = 64  # allowed items, or one in so many, that are scored one by one


def plan_members(
    request: SearchRequest, vectors: np.ndarray, queries: np.ndarray, metric: Metric, batch: int
) -> SearchPlan | None:
    """Return a plan that scores each allowed item, or None if the allow list is long or missing.

    Args:
        request: the validated request.
        vectors: (n, dim) float32, the items, transformed for the metric.
        queries: (q, dim) float32, read-only, transformed for the metric.
        metric: the metric of the scores.
        batch: the number of queries that one thread takes at a time.
    """
    few = few_allowed(request.allow, len(vectors))
    if few is None:
        return None
    members, bounds = few
    arguments = (
        metric.is_distance, readonly(vectors), readonly(members), readonly(bounds), queries,
        *request.filters[1:],
    )  # fmt: skip
    return SearchPlan(measures.search_members, arguments, batch)


def few_allowed(allow: np.ndarray, items: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the allowed items of each row and the bounds of the rows, or None if there are many.

    Args:
        allow: (0, 0), (1, items) or (q, items) bool.
        items: the number of items.
    """
    if not len(allow) or np.count_nonzero(allow) > max(FEW, items // FEW) * len(allow):
        return None
    rows, members = np.nonzero(allow)
    return members.astype(np.int32), np.searchsorted(rows, np.arange(len(allow) + 1))
