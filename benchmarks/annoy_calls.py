"""`AnnoyIndex` beside Annoy, a call at a time: microseconds, each the least of turns of both.

    python benchmarks/annoy_calls.py [--items 20000] [--turns 9]

Normal vectors of 50 dimensions, 10 trees, k = 10, one thread.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import annoy
import numpy as np
from rich.console import Console
from rich.table import Table

from segue.compat.annoy import AnnoyIndex

WHO: dict[str, Any] = {"segue": AnnoyIndex, "Annoy": annoy.AnnoyIndex}
METRICS = ("angular", "euclidean", "manhattan", "hamming", "dot")
F = 50


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--items", type=int, default=20_000)
    arguments.add_argument("--turns", type=int, default=9)
    given = arguments.parse_args()
    vectors = np.random.default_rng(0).standard_normal((given.items, F)).astype(np.float32)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (calls, each) in {**adding(vectors), **asking(vectors), **loading(vectors, folder)}.items():
            rows.append({"call": name, **least(calls, each, given.turns)})
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    print(json.dumps({"items": given.items, "rows": rows}))


Cases = dict[
    str, tuple[dict[str, Callable[[], Any]], int]
]  # by name: both calls, and how many each counts for


def adding(vectors: np.ndarray) -> Cases:
    """add_item, of arrays and of lists."""
    few = vectors[:2000]
    kinds: dict[str, Any] = {"arrays": few, "lists": few.tolist()}
    return {
        f"add_item, {kind}": ({who: partial(filled, make, some) for who, make in WHO.items()}, len(few))
        for kind, some in kinds.items()
    }


def asking(vectors: np.ndarray) -> Cases:
    """Queries, of items and of lists."""
    made: Cases = {}
    for metric in METRICS:
        some = (vectors > 0).astype(np.float32) if metric == "hamming" else vectors
        indexes, query = {who: filled(make, some, metric) for who, make in WHO.items()}, some[0].tolist()
        for index in indexes.values():
            index.build(10)
        for name, call, arguments in (
            (f"get_nns_by_item, {metric}", "get_nns_by_item", (7, 10)),
            (f"get_nns_by_vector with distances, {metric}", "get_nns_by_vector", (query, 10, -1, True)),
            ("get_item_vector", "get_item_vector", (7,)),
            ("get_distance", "get_distance", (7, 8)),
        ):
            made[name] = {who: partial(getattr(one, call), *arguments) for who, one in indexes.items()}, 1
    return made


def loading(vectors: np.ndarray, folder: str) -> Cases:
    """A new index, and one that loads a file of a hundred items."""
    path = str(Path(folder) / "hundred.ann")
    index = filled(AnnoyIndex, vectors[:100])
    index.build(10)
    index.save(path)
    return {
        "AnnoyIndex(f, metric)": ({who: partial(make, F, "angular") for who, make in WHO.items()}, 1),
        "load, 100 items": ({who: partial(make(F, "angular").load, path) for who, make in WHO.items()}, 1),
    }


def filled(make: Any, vectors: Any, metric: str = "angular") -> Any:
    index = make(F, metric)
    for number, vector in enumerate(vectors):
        index.add_item(number, vector)
    return index


def least(calls: dict[str, Callable[[], Any]], each: int, turns: int) -> dict[str, float]:
    """The least seconds of both in turns, as microseconds a call."""
    found = dict.fromkeys(calls, float("inf"))
    repeats = max(1, 500 // each)
    for _ in range(turns + 1):
        for who, call in calls.items():
            started = time.perf_counter()
            for _ in range(repeats):
                call()
            found[who] = min(found[who], (time.perf_counter() - started) / repeats / each * 1e6)
    return {who: round(value, 2) for who, value in found.items()}


if __name__ == "__main__":
    main()
