"""The principal axes of vectors, and vectors turned to other axes."""

from __future__ import annotations

import numpy as np

from segue.kernels import axes as kernels
from segue.kernels import threads
from segue.kernels.arrays import readonly
from segue.numerics.blas import on_one_thread

ROWS = 1024  # rows that a thread takes at a time
PART = 4096  # rows whose products are summed in float32
WIDE = 128  # dimensions from which BLAS, on each thread by itself, is faster than the kernels


def principal_axes(vectors: np.ndarray, workers: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues (dim,) of vectors'vectors, largest first, and its eigenvectors (dim, dim)."""
    dim = vectors.shape[1]
    parts = np.empty((max(1, -(-len(vectors) // PART)), dim, dim), np.float32)

    def work(first: int, last: int) -> None:
        if dim >= WIDE:
            np.matmul(vectors[first:last].T, vectors[first:last], out=parts[first // PART])
        else:
            kernels.gram(vectors, first, last, parts[first // PART])

    parts[:] = 0
    with on_one_thread():
        threads.run(work, len(vectors), chunk=PART, threads=workers)
        values, axes = np.linalg.eigh(parts.sum(0, dtype=np.float64))  # one order, whoever made the parts
    return np.maximum(values[::-1], 0).astype(np.float32), np.ascontiguousarray(axes[:, ::-1], np.float32)


def rotate(vectors: np.ndarray, axes: np.ndarray, out: np.ndarray, workers: int | None = None) -> None:
    """Write the vectors (n, dim) in other axes, the columns of (dim, dim), into `out`, maybe `vectors`."""
    columns = readonly(np.ascontiguousarray(axes.T))
    source = readonly(vectors)
    if len(axes) >= WIDE:
        with on_one_thread():
            threads.run(
                lambda first, last: np.copyto(out[first:last], vectors[first:last] @ axes),
                len(vectors), chunk=ROWS, threads=workers,
            )  # fmt: skip
        return

    def work(first: int, last: int) -> None:
        kernels.rotate(source, columns, first, last, out)

    threads.run(work, len(vectors), chunk=ROWS, threads=workers)
