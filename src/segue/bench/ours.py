"""Our own indexes, behind the signature of the other libraries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from segue.bench.race import Runner
from segue.index.timing import Search
from segue.kernels.arrays import aligned

SAMPLED = 1000  # queries by which an index is laid out
ABOUT = ("about settings", "about seconds")  # what is kept beside an index's arrays


def searching(index: Any) -> Search:
    """The ids that an index finds, with an effort as the setting."""

    def search(queries: np.ndarray, k: int, setting: Any) -> np.ndarray:
        found: np.ndarray = index.search(queries, k, effort=setting).ids
        return found

    return search


def runner(
    settings: Any, name: str, items: np.ndarray, queries: np.ndarray, folder: Path | None = None
) -> tuple[Runner, Any]:
    """Build an index of ours: what races, and the index itself.

    With a folder, it is kept there, and loaded by a later run that wants the same settings.
    """
    file = folder / f"{name.replace(' ', '-')}.npz" if folder else None
    index, took = _loaded(settings, file) if file and file.exists() else (None, 0.0)
    if index is None:
        settings.build(items[:SAMPLED], queries=queries[:SAMPLED])  # so that no compiling is timed
        started = time.perf_counter()
        index = settings.build(items, queries=queries[:SAMPLED])
        took = time.perf_counter() - started
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            about = dict(zip(ABOUT, (np.array(repr(settings)), np.array(took)), strict=True))
            kept: Any = {**about, **index.arrays()}
            np.savez(file, **kept)
    return Runner(name, took, searching(index), is_exact=not index.efforts(1)), index


def _loaded(settings: Any, file: Path) -> tuple[Any, float]:
    """The index that a file keeps and the seconds that it took to build; None if its settings were others."""
    with np.load(file) as saved:
        written, took = (saved[name] for name in ABOUT)
        if str(written) != repr(settings):
            return None, 0.0
        arrays = {name: _placed(saved[name]) for name in saved.files if name not in ABOUT}
    return settings.from_arrays(arrays), float(took)


def _placed(array: np.ndarray) -> np.ndarray:
    """The array where a build would have put it: rows of codes begin with a cache line."""
    if not array.size:
        return array
    out = aligned(array.shape, array.dtype.type)
    out[...] = array
    return out
