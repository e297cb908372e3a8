"""The principal axes of vectors, and vectors turned to other axes."""

from __future__ import annotations

import numpy as np

from segue.blas import on_one_thread
from segue.kernels import axes as kernels
from segue.kernels import threads

ROWS = 1024  # rows that a thread takes at a time
PART = 4096  # rows whose products are summed in float32


def principal_axes(vectors: np.ndarray, workers: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues (dim,) of vectors'vectors, largest first, and its eigenvectors (dim, dim)."""
    dim = vectors.shape[1]
    parts = np.empty((max(1, -(-len(vectors) // PART)), dim, dim), np.float32)

    def work(first: int, last: int) -> None:
        kernels.gram(vectors, first, last, parts[first // PART])

    parts[:] = 0
    threads.run(work, len(vectors), chunk=PART, threads=workers)
    with on_one_thread():
        values, axes = np.linalg.eigh(parts.sum(0, dtype=np.float64))  # one order, whoever made the parts
    return np.maximum(values[::-1], 0).astype(np.float32), np.ascontiguousarray(axes[:, ::-1], np.float32)


def turn(vectors: np.ndarray, axes: np.ndarray, out: np.ndarray, workers: int | None = None) -> None:
    """Write the vectors (n, dim) in other axes, the columns of (dim, dim), into `out`, maybe `vectors`."""
    columns = np.ascontiguousarray(axes.T)

    def work(first: int, last: int) -> None:
        kernels.turn(vectors, columns, first, last, out)

    threads.run(work, len(vectors), chunk=ROWS, threads=workers)
