"""Measure the inner loop of exact search: on cached data, and within a search that prunes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from segue.index import Exact, layout, segments
from segue.index.base import VectorIndex
from segue.index.form import chosen_form
from segue.kernels import scan, simd
from segue.kernels.arrays import aligned
from segue.kernels.compile import kernel

GROUPS = segments.MAX_GROUPS  # of 4 dimensions
ITEMS, QUERIES, PASSES, REPEATS = 24_576, 512, 4000, 60


@kernel
def dense(form: Any, codes: Any, words: Any, passes: int, out: Any) -> None:
    """Score the same 64 items repeatedly, as the scan scores four blocks."""
    found = np.int64(0)
    for turn in range(passes):
        a = b = c = d = simd.start(form, codes, turn % scan.BLOCKS * 64)
        for g in range(len(words)):
            a = simd.multiply(form, a, codes, g * scan.ROW_BYTES, words, g)
            b = simd.multiply(form, b, codes, g * scan.ROW_BYTES + 64, words, g)
            c = simd.multiply(form, c, codes, g * scan.ROW_BYTES + 128, words, g)
            d = simd.multiply(form, d, codes, g * scan.ROW_BYTES + 192, words, g)
        low = simd.larger(simd.total(form, a), simd.total(form, b))
        high = simd.larger(simd.total(form, c), simd.total(form, d))
        found |= simd.above(simd.larger(low, high), np.int32(5))
    out[0] = found


def roofline() -> dict[str, Any]:
    """Return 10⁹ multiply-adds per second of one core: cached, within a search, and their ratio."""
    threads, os.environ["SEGUE_THREADS"] = os.environ["SEGUE_THREADS"], "1"
    form = chosen_form()
    codes, words = aligned((scan.ROW_BYTES * GROUPS,), np.int8), np.zeros(GROUPS, np.int32)
    mark, out = simd.MARKS[form.name], np.zeros(1, np.uint32)
    long, queries = unprunable(4 * GROUPS)
    short, short_queries = unprunable(2 * GROUPS)
    times = fastest(
        lambda: dense(mark, codes, words, PASSES, out),
        lambda: dense(mark, codes, words[: GROUPS // 2], PASSES, out),
        lambda: long.search(queries, 10),
        lambda: short.search(short_queries, 10),
    )
    # the difference between two lengths cancels the constant cost
    cached = (times[0] - times[1]) * 2 / (PASSES * 64)
    within = (times[2] - times[3]) * 2 / (QUERIES * ITEMS)
    os.environ["SEGUE_THREADS"] = threads
    rate = 4 * GROUPS / 1e9
    return {
        "form": form.name,
        "cached_gmacs": round(rate / cached, 1),
        "search_gmacs": round(rate / within, 1),
        "share": round(cached / within, 2),
    }


def unprunable(dim: int) -> tuple[VectorIndex, np.ndarray]:
    """Return an index and queries such that no bound excludes an item before all dimensions are summed.

    All items have the same norm, and ten of them are the nearest for every query.
    """
    random = np.random.default_rng(0)
    items = random.standard_normal((ITEMS, dim)).astype(np.float32)
    items[:, 0] = 0
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    items[:10] = 0
    items[:10, 0] = 1.002
    queries = (0.02 * random.standard_normal((QUERIES, dim))).astype(np.float32)
    queries[:, 0] = 1
    least, layout.MIN_ITEMS = layout.MIN_ITEMS, ITEMS + 1  # no rotation, so one dense segment
    index = Exact().build(items, queries=queries)
    layout.MIN_ITEMS = least
    return index, queries


def fastest(*works: Callable[[], Any]) -> list[float]:
    """Return the seconds of the fastest of many alternating short runs of each function."""
    least = [np.inf] * len(works)
    for _ in range(REPEATS):
        for place, work in enumerate(works):
            started = time.perf_counter()
            work()
            least[place] = min(least[place], time.perf_counter() - started)
    return least
