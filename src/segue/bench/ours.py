"""Our own indexes, behind the signature of the other libraries."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from segue.bench.race import Runner
from segue.index.timing import Search

SAMPLED = 1000  # queries by which an index is laid out


def searching(index: Any) -> Search:
    """The ids that an index finds, with an effort as the setting."""

    def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
        found: np.ndarray = index.search(queries, k, effort=setting).ids
        return found

    return search


def runner(settings: Any, name: str, items: np.ndarray, queries: np.ndarray) -> tuple[Runner, Any]:
    """Build an index of ours: what races, and the index itself."""
    started = time.perf_counter()
    index = settings.build(items, queries=queries[:SAMPLED])
    took = time.perf_counter() - started
    return Runner(name, took, searching(index), is_exact=not index.efforts(1)), index
