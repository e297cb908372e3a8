"""Search for the least effort with which an index reaches a recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from segue.index.base import VectorIndex

TYPICAL_K = 10  # results per query that recall is measured on
STANDARD_ERRORS = 2.0  # of the sample, by which its recall must exceed the target
STRIDE = 4  # settings that a leap of `climb` skips
MAX_RECALL = 0.99  # `climb` measures no setting after one with this recall
MIN_GAIN, MAX_COST = 0.001, 1.3  # `climb` stops where a leap gains less recall and takes more time than these

Setting: TypeAlias = Any  # a setting of any library's search


@dataclass
class Point:
    """A measured setting of a search: its recall and the microseconds per query."""

    setting: Setting
    recall: float
    us: float


def geometric(first: int, last: int, ratio: float = 2**0.25) -> list[int]:
    """Return whole numbers from first to last, each about `ratio` times the previous one."""
    steps = int(np.ceil(np.log(last / first) / np.log(ratio))) if last > first else 0
    return sorted({min(last, round(first * ratio**step)) for step in range(steps + 1)})


def bisect(low: int, high: int, reaches: Callable[[int], bool], middle: Callable[[int, int], int]) -> int:
    """Return the least number above `low` that reaches the target, given that `high` does.

    Args:
        low: a number that does not reach the target.
        high: a number that does.
        reaches: whether a number reaches the target.
        middle: returns a number between its arguments.
    """
    while high - low > 1:
        candidate = middle(low, high)
        low, high = (low, candidate) if reaches(candidate) else (candidate, high)
    return high


def least_effort(index: VectorIndex, queries: np.ndarray | None, most: int, recall: float, count: int) -> int:
    """Return the least effort whose recall on a sample exceeds the target by two standard errors.

    Args:
        index: the index to tune.
        queries: (q, dim) float32 to draw the sample from; None draws from the vectors of the index, each of
            which is excluded from its own results.
        most: the effort that finds everything.
        recall: the target, a share of what `most` finds among the 10 best.
        count: the size of the sample.
    """
    pool = index.vectors if queries is None or not len(queries) else queries
    rows = np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).astype(np.int64))
    exclude = None
    if pool is index.vectors:
        shape = (len(rows), len(pool))
        exclude = sp.csr_matrix((np.ones(len(rows), np.float32), rows, np.arange(len(rows) + 1)), shape)

    def scores(effort: int) -> np.ndarray:
        return index.search(pool[rows], TYPICAL_K, exclude=exclude, effort=effort).scores

    best = scores(most)
    exists = best > -np.inf

    def reaches(effort: int) -> bool:
        is_found = (scores(effort) >= best[:, -1:]) & exists
        margin = is_found.sum(1) - recall * exists.sum(1)
        return bool(margin.sum() >= STANDARD_ERRORS * margin.std() * np.sqrt(len(margin)))

    def middle(low: int, high: int) -> int:
        return max(low + 1, int(np.sqrt(max(low, 1) * high)))

    return bisect(0, most, reaches, middle) if recall < 1 else most


def climb(
    settings: Sequence[Setting], measure: Callable[[Setting], Point], target: float, limit: float = np.inf
) -> list[Point]:
    """Measure settings by leaps from fast to accurate, then bisect for the first that reaches the target.

    The leaps end at recall .99, where a leap costs time and gains nothing, or where a query takes too long.

    Args:
        settings: the settings from fast to accurate.
        measure: measures a setting.
        target: the recall to reach.
        limit: microseconds per query above which no slower setting is measured.

    Returns:
        The measured points in the order of their settings.
    """
    points: dict[int, Point] = {}
    before_recall, before_us = -1.0, 0.0
    for place in [*range(0, len(settings) - 1, STRIDE), len(settings) - 1]:
        point = points[place] = measure(settings[place])
        gains_nothing = point.recall < before_recall + MIN_GAIN and point.us > MAX_COST * before_us
        if point.recall >= max(target, MAX_RECALL) or gains_nothing or point.us > limit:
            break
        before_recall, before_us = point.recall, point.us

    def reaches(place: int) -> bool:
        points[place] = measure(settings[place])
        return points[place].recall >= target

    high = min((place for place, point in points.items() if point.recall >= target), default=None)
    if high is not None:
        low = max((place for place in points if place < high), default=-1)
        bisect(low, high, reaches, lambda low, high: (low + high) // 2)
    return [point for _, point in sorted(points.items())]
