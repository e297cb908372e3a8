"""segue's own indexes behind the interface of the other libraries."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from segue.bench.race import Runner
from segue.index.base import Index, IndexSettings
from segue.index.timing import Search
from segue.kernels.arrays import aligned

SAMPLE = 1000  # queries given to `build`
META = ("meta settings", "meta seconds")  # stored beside an index's arrays


def build_index(
    settings: IndexSettings, name: str, items: np.ndarray, queries: np.ndarray, folder: Path | None = None
) -> tuple[Runner, Index]:
    """Build one of segue's indexes; return its runner and the index.

    Args:
        settings: the index settings.
        name: the name in tables.
        items: (n, dim) float32.
        queries: (q, dim) float32, a sample for `build`.
        folder: where to save the index; a later run with the same settings loads it.
    """
    file = folder / f"{name.replace(' ', '-')}.npz" if folder else None
    index, seconds = _load(settings, file) if file and file.exists() else (None, 0.0)
    if index is None:
        settings.build(items[:SAMPLE], queries=queries[:SAMPLE])  # compile before the clock starts
        started = time.perf_counter()
        index = settings.build(items, queries=queries[:SAMPLE])
        seconds = time.perf_counter() - started
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            meta = dict(zip(META, (np.array(repr(settings)), np.array(seconds)), strict=True))
            np.savez(file, allow_pickle=False, **meta, **index.arrays())
    return Runner(name, seconds, _search(index), is_exact=not index.efforts(1)), index


def _search(index: Index) -> Search:
    """Return a search of an index that has the effort as its setting."""

    def search(queries: np.ndarray, k: int, setting: int | None) -> np.ndarray:
        ids: np.ndarray = index.search(queries, k, effort=setting).ids
        return ids

    return search


def _load(settings: IndexSettings, file: Path) -> tuple[Index | None, float]:
    """Return a saved index and the seconds of its build; None if it was built with other settings."""
    with np.load(file) as saved:
        written, seconds = (saved[name] for name in META)
        if str(written) != repr(settings):
            return None, 0.0
        arrays = {name: _align(saved[name]) for name in saved.files if name not in META}
    return settings.from_arrays(arrays), float(seconds)


def _align(array: np.ndarray) -> np.ndarray:
    """Copy an array to an address aligned to cache lines, as a build would have it."""
    if not array.size:
        return array
    copy = aligned(array.shape, array.dtype.type)
    copy[...] = array
    return copy
