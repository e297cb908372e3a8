"""Timing of searches: in batches, and one query at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias  # a setting of a foreign library

import numpy as np

WARM_UP = 256  # queries searched before the clock starts
PAUSE = 0.05  # seconds in which the threads of the previous search go idle
SHORTEST, LONGEST = 0.05, 3.0  # seconds that a timing takes; a slow search gets fewer queries
SINGLE_WARM_UP = 20  # calls with a single query before the clock starts

Setting: TypeAlias = Any  # a value of a library's search knob
Search = Callable[[np.ndarray, int, Setting], np.ndarray]
"""Maps queries (q, dim), k and a setting to ids (q, k), or to whatever recall is computed from."""


def microseconds(search: Search, queries: np.ndarray, k: int, setting: Setting) -> tuple[float, np.ndarray]:
    """Return the microseconds per query of a batch, and its results.

    A short batch warms up; the batch repeats until the timing lasts long enough. A slow search gets only the
    first queries, so these must be as random as the rest.
    """
    time.sleep(PAUSE)
    started = time.perf_counter()
    search(queries[:WARM_UP], k, setting)
    seconds = (time.perf_counter() - started) / min(WARM_UP, len(queries))
    queries = queries[: max(WARM_UP, int(LONGEST / seconds))]
    passes, started = 0, time.perf_counter()
    while passes == 0 or time.perf_counter() - started < SHORTEST:
        results = search(queries, k, setting)
        passes += 1
    return (time.perf_counter() - started) / passes / len(queries) * 1e6, results


def single_microseconds(search: Search, queries: np.ndarray, k: int, setting: Setting) -> float:
    """Return the median microseconds of a call with one query."""
    for query in queries[:SINGLE_WARM_UP]:
        search(query[None], k, setting)
    times: list[float] = []
    for query in queries:
        started = time.perf_counter()
        search(query[None], k, setting)
        times.append(time.perf_counter() - started)
        if sum(times) > LONGEST:
            break
    return float(np.median(times)) * 1e6
