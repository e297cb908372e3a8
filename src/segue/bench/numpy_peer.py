"""Brute force with numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from threadpoolctl import ThreadpoolController

from segue.bench.peer import Peer, Setting, exact_sweep, prepare
from segue.index.timing import Search

BLOCK = 1024  # queries per matrix product


def numpy() -> Peer:
    """Return a matrix product and a partial sort, one block of queries at a time."""

    def build(items: np.ndarray, metric: str, threads: int, path: Path | None) -> Search:
        columns = prepare(items, metric).T
        offsets = 0.5 * np.einsum("ij,ij->i", items, items) if metric == "euclidean" else np.float32(0)
        blas = ThreadpoolController()

        def best(block: np.ndarray, k: int) -> np.ndarray:
            losses = offsets - block @ columns
            ids = np.argpartition(losses, min(k, losses.shape[1] - 1), 1)[:, :k]
            order = np.argsort(np.take_along_axis(losses, ids, 1), 1, kind="stable")
            return np.take_along_axis(ids, order, 1)

        def search(queries: np.ndarray, k: int, setting: Setting) -> np.ndarray:
            with blas.limit(limits=threads, user_api="blas"):
                rows = range(0, len(queries), BLOCK)
                return np.concatenate([best(queries[row : row + BLOCK], k) for row in rows])

        return search

    return Peer("numpy", "numpy", build, exact_sweep, is_exact=True)


NUMPY = numpy()
