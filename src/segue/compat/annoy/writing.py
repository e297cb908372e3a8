"""Writing of index files."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

import numpy as np


def replace_file(path: str, data: np.ndarray) -> None:
    """Write a file under a temporary name and rename it; processes that mapped the old file keep it."""
    if os.path.lexists(path) and not stat.S_ISREG(Path(path).stat().st_mode):
        with Path(path).open("wb") as file:
            file.write(data.data)
        return
    if not path:
        raise FileNotFoundError("Unable to open: the file name is empty")
    temporary = f"{path}.{secrets.token_hex(4)}.part"
    try:
        with Path(temporary).open("wb") as file:
            file.write(data.data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def owner_of(array: np.ndarray) -> np.ndarray:
    """Return the array that owns the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
