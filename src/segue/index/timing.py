"""How long a search takes, and which effort first finds enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WARM_UP = 256  # queries asked before the clock is started
REST = 0.05  # seconds in which the threads of the one before fall asleep
SHORTEST, LONGEST = 0.05, 3.0  # seconds that a timing lasts; a slow search is asked fewer queries
STRIDE = 4  # settings jumped over while looking for the one
CEILING = 0.99  # the recall up to which a curve is drawn
GAIN, COST = 0.001, 1.3  # a leap that adds less recall for more time than that is in vain, and so are more

Search = Callable[[np.ndarray, int, Any], np.ndarray]
"""Queries (q, dim), k and a setting to ids (q, k), or to whatever recall is counted by."""


@dataclass
class Point:
    """One setting of one search."""

    setting: Any
    recall: float
    us: float


def microseconds(search: Search, queries: np.ndarray, k: int, setting: Any) -> tuple[float, np.ndarray]:
    """Time a batch after a short one, as often as makes a timing; the time per query, and the answers.

    The queries of a batch cut short are the first ones, which must be as random as the rest.
    """
    time.sleep(REST)
    started = time.perf_counter()
    search(queries[:WARM_UP], k, setting)
    each = (time.perf_counter() - started) / min(WARM_UP, len(queries))
    queries = queries[: max(WARM_UP, int(LONGEST / each))]
    passes, started = 0, time.perf_counter()
    while passes == 0 or time.perf_counter() - started < SHORTEST:
        found = search(queries, k, setting)
        passes += 1
    return (time.perf_counter() - started) / passes / len(queries) * 1e6, found


def single_microseconds(search: Search, queries: np.ndarray, k: int, setting: Any) -> float:
    """The median time of a call with one query."""
    for query in queries[:20]:
        search(query[None], k, setting)
    times = []
    for query in queries:
        started = time.perf_counter()
        search(query[None], k, setting)
        times.append(time.perf_counter() - started)
        if sum(times) > LONGEST:
            break
    return float(np.median(times)) * 1e6


def climb(
    settings: Sequence[Any], measure: Callable[[Any], Point], target: float, limit: float = np.inf
) -> list[Point]:
    """Measure settings from fast to accurate by leaps, then bisect for the first that reaches the target.

    Ends at `CEILING`, where a leap costs time and gains nothing, or where a query takes more than `limit`
    microseconds. Leaps that change neither, as below what a search does at least, are gone on from.
    """
    points: dict[int, Point] = {}
    before = Point(None, -1.0, 0.0)
    for place in [*range(0, len(settings) - 1, STRIDE), len(settings) - 1]:
        points[place] = measure(settings[place])
        here = points[place]
        in_vain = here.recall < before.recall + GAIN and here.us > COST * before.us
        if here.recall >= max(target, CEILING) or in_vain or here.us > limit:
            break
        before = here
    reached = [place for place, point in sorted(points.items()) if point.recall >= target]
    if reached:
        high = reached[0]
        low = max((place for place in points if place < high), default=-1)
        while high - low > 1:
            middle = (low + high) // 2
            points[middle] = measure(settings[middle])
            low, high = (low, middle) if points[middle].recall >= target else (middle, high)
    return [point for _, point in sorted(points.items())]


def geometric(first: int, last: int, ratio: float = 2**0.25) -> list[int]:
    """Whole numbers from first to last, each about `ratio` times the one before."""
    steps = int(np.ceil(np.log(last / first) / np.log(ratio))) if last > first else 0
    return sorted({min(last, round(first * ratio**step)) for step in range(steps + 1)})
