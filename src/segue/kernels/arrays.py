"""Arrays for kernels: read-only views and buffers aligned to cache lines."""

from __future__ import annotations

import numpy as np

LINE = 64  # bytes


def readonly(array: np.ndarray) -> np.ndarray:
    """Return a read-only view, so that kernels compile once for arrays in memory and memory-mapped arrays."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


def aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """Return an array of zeros, aligned to a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = np.empty(size + LINE, np.uint8)  # np.empty uses huge pages, np.zeros does not
    buffer[:] = 0
    first = -buffer.ctypes.data % LINE
    return buffer[first : first + size].view(dtype).reshape(shape)
