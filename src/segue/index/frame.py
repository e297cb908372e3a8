"""The coordinate frame of an index: vectors relative to their mean, in their principal axes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segue.numerics.axes import principal_axes, rotate

EPS = float(np.finfo(np.float32).eps)


class Frame(NamedTuple):
    """Vectors in the coordinates in which an index encodes them.

    Attributes:
        vectors: (n, dim) float32, the transformed vectors.
        center: (dim,) float32, the subtracted mean, or (0,) if nothing is subtracted.
        axes: (dim, dim) float32, the principal axes as rows, or (0, 0) if the vectors are not rotated.
        rounding: the relative error of float32 sums in these coordinates.
    """

    vectors: np.ndarray
    center: np.ndarray
    axes: np.ndarray
    rounding: float


def principal_frame(vectors: np.ndarray, *, center: bool, rotated: bool) -> Frame:
    """Transform vectors (n, dim) float32 to the coordinates of an index.

    Args:
        vectors: the vectors.
        center: subtract the mean, as distances allow.
        rotated: rotate to the principal axes, so that the first dimensions hold most of the length.
    """
    dim = vectors.shape[1]
    mean = vectors.mean(0, dtype=np.float64).astype(np.float32) if center else np.empty(0, np.float32)
    centered = vectors - mean if center else vectors
    axes, rounding = np.empty((0, 0), np.float32), 2 * (dim + 8) * EPS
    if not rotated:
        return Frame(centered, mean, axes, rounding)
    axes = np.ascontiguousarray(principal_axes(centered)[1].T)
    defect = np.linalg.norm(axes.astype(np.float64).T @ axes - np.eye(dim))
    rounding += 2 * (dim / 4 + 16) * EPS * np.sqrt(dim) + 2 * float(defect)
    transformed = np.empty_like(centered)
    rotate(centered, np.ascontiguousarray(axes.T), transformed)
    return Frame(transformed, mean, axes, rounding)
