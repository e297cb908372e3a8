"""Arrays as kernels take them: read-only views, and buffers that begin with a cache line."""

from __future__ import annotations

import numpy as np

LINE = 64  # bytes


def readonly(array: np.ndarray) -> np.ndarray:
    """A read-only view: kernels are compiled once for it, whether the array is mapped from a file or not."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


def aligned(shape: tuple[int, ...], kind: type[np.generic]) -> np.ndarray:
    """Zeros that begin with a cache line."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    room = np.empty(size + LINE, np.uint8)  # numpy asks for huge pages here, but not for zeros
    room[:] = 0
    first = -room.ctypes.data % LINE
    return room[first : first + size].view(kind).reshape(shape)
