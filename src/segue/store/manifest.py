"""The manifest of a version: which files it has, how large each is, and what checksum it has."""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from segue.errors import NewerFormatError, SettingError

FORMAT = 1
LIMIT = 16 << 20  # bytes
DTYPES = frozenset({"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"})
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    """The size in bytes and the SHA-256 of a file; of an array also its dtype and shape."""

    size: int
    sha256: str
    dtype: str = ""
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What a version holds: plain JSON, and the files of its arrays and tables by name."""

    meta: dict[str, Any]
    arrays: dict[str, File]
    tables: dict[str, File]

    def files(self) -> dict[str, File]:
        """All files by the name they have in the folder of the version."""
        arrays = {f"{name}.npy": file for name, file in self.arrays.items()}
        return arrays | {f"{name}.arrow": file for name, file in self.tables.items()}


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the header of a .npy file (format 1.0): readers compare it and have nothing to parse."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("ascii")


def render(manifest: Manifest) -> bytes:
    """Return the bytes of manifest.json, the same for the same content; or raise `SettingError`."""
    arrays = {
        name: {"bytes": file.size, "sha256": file.sha256, "dtype": file.dtype, "shape": file.shape}
        for name, file in manifest.arrays.items()
    }
    tables = {name: {"bytes": file.size, "sha256": file.sha256} for name, file in manifest.tables.items()}
    whole = {"format": FORMAT, "meta": manifest.meta, "arrays": arrays, "tables": tables}
    raw = json.dumps(whole, sort_keys=True, allow_nan=False, indent=1).encode()
    if len(raw) > LIMIT:
        raise SettingError(f"meta makes a manifest of {len(raw):,} bytes, of at most {LIMIT:,}; use a table")
    return raw


def parse(raw: bytes) -> Manifest:
    """Return a manifest whose every name, size, dtype and shape may be relied on.

    Raises:
        ValueError: it is not such a manifest.
        NewerFormatError: a later release wrote it.
    """
    try:
        found = json.loads(raw)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict) or type(found.get("format")) is not int or found["format"] < 1:
        raise ValueError("it has no format number")
    if found["format"] > FORMAT:
        raise NewerFormatError(
            f"it is in format {found['format']}, but this release of segue reads formats up to {FORMAT}; "
            "upgrade segue to read it"
        )
    _check_keys("it", found, {"format", "meta", "arrays", "tables"})
    for key in ("meta", "arrays", "tables"):
        if not isinstance(found[key], dict):
            raise ValueError(f"{key} is not an object")
    for name in (*found["arrays"], *found["tables"]):
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a file")
    arrays = {name: _parse_array(name, entry) for name, entry in found["arrays"].items()}
    tables = {name: _parse_table(name, entry) for name, entry in found["tables"].items()}
    return Manifest(found["meta"], arrays, tables)


def _parse_table(name: str, entry: object) -> File:
    return _parse_file(name, _check_keys(name, entry, {"bytes", "sha256"}))


def _parse_array(name: str, entry: object) -> File:
    fields = _check_keys(name, entry, {"bytes", "sha256", "dtype", "shape"})
    file, dtype, shape = _parse_file(name, fields), fields["dtype"], fields["shape"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name} has the dtype {dtype!r}, not one of {', '.join(sorted(DTYPES))}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 32 or not all(map(_is_count, shape)):
        raise ValueError(f"{name} has the shape {shape!r:.100}")
    itemsize = np.dtype(dtype).itemsize
    if math.prod(max(1, n) for n in shape) * itemsize >= 2**63:  # more than numpy can address
        raise ValueError(f"{name} has the shape {shape!r:.100}")
    wanted = len(npy_header(dtype, tuple(shape))) + math.prod(shape) * itemsize
    if file.size != wanted:
        raise ValueError(f"{name} has {file.size} bytes, but {dtype} of the shape {shape} takes {wanted}")
    return File(file.size, file.sha256, dtype, tuple(shape))


def _parse_file(name: str, fields: dict[str, Any]) -> File:
    size, digest = fields["bytes"], fields["sha256"]
    if not _is_count(size) or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise ValueError(f"{name} has no size and checksum")
    return File(size, digest)


def _check_keys(what: str, found: object, keys: set[str]) -> dict[str, Any]:
    if not isinstance(found, dict) or set(found) != keys:
        raise ValueError(f"{what} must have exactly {', '.join(sorted(keys))}")
    return found


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63
