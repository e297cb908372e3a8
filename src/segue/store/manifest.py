"""The manifest of a version: the names, sizes and checksums of its files, and plain JSON settings."""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from segue.errors import NewerFormatError, OlderFormatError, SettingError

FORMAT = 2  # raise it when names or meanings of arrays, tables or settings change
LIMIT = 16 << 20  # bytes of a manifest
DTYPES = frozenset({"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"})
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
Json: TypeAlias = dict[str, Any]  # a parsed JSON object: its values are foreign
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """The size in bytes and SHA-256 of a file, and the dtype and shape of an array."""

    size: int
    sha256: str
    dtype: str = ""
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The contents of a version: plain JSON, and the files of arrays and tables by name."""

    meta: Json
    arrays: dict[str, FileEntry]
    tables: dict[str, FileEntry]

    def files(self) -> dict[str, FileEntry]:
        """Return all files by their file names."""
        arrays = {f"{name}.npy": file for name, file in self.arrays.items()}
        return arrays | {f"{name}.arrow": file for name, file in self.tables.items()}


def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the header of a .npy file (format 1.0), which readers compare instead of parsing."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("ascii")


def render(manifest: Manifest) -> bytes:
    """Return the bytes of manifest.json, equal for equal contents.

    Raises:
        SettingError: the manifest is larger than `LIMIT`.
    """
    arrays = {
        name: {"bytes": file.size, "sha256": file.sha256, "dtype": file.dtype, "shape": file.shape}
        for name, file in manifest.arrays.items()
    }
    tables = {name: {"bytes": file.size, "sha256": file.sha256} for name, file in manifest.tables.items()}
    content = {"format": FORMAT, "meta": manifest.meta, "arrays": arrays, "tables": tables}
    raw = json.dumps(content, sort_keys=True, allow_nan=False, indent=1).encode()
    if len(raw) > LIMIT:
        raise SettingError(
            f"meta makes a manifest of {len(raw):,} bytes, but at most {LIMIT:,} are allowed; use a table"
        )
    return raw


def parse(raw: bytes) -> Manifest:
    """Parse a manifest and check every name, size, dtype and shape in it.

    Raises:
        ValueError: the bytes are not a manifest, or a value is invalid.
        NewerFormatError: a later release wrote it.
        OlderFormatError: an earlier release wrote it.
    """
    try:
        content = json.loads(raw)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict) or type(content.get("format")) is not int or content["format"] < 1:
        raise ValueError("it has no format number")
    _check_format(content["format"])
    _check_keys("it", content, {"format", "meta", "arrays", "tables"})
    for key in ("meta", "arrays", "tables"):
        if not isinstance(content[key], dict):
            raise ValueError(f"{key} is not an object")
    for name in (*content["arrays"], *content["tables"]):
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid file name")
    arrays = {name: _parse_array(name, entry) for name, entry in content["arrays"].items()}
    tables = {name: _parse_table(name, entry) for name, entry in content["tables"].items()}
    return Manifest(content["meta"], arrays, tables)


def _check_format(number: int) -> None:
    if number > FORMAT:
        raise NewerFormatError(
            f"it was written by a later format {number}, and this release of segue reads format {FORMAT}; "
            "upgrade segue to read it"
        )
    if number < FORMAT:
        raise OlderFormatError(
            f"it was written by an earlier format {number}, and this release of segue reads format {FORMAT}; "
            "fit the model again with this version"
        )


def _parse_table(name: str, entry: object) -> FileEntry:
    return _parse_file(name, _check_keys(name, entry, {"bytes", "sha256"}))


def _parse_array(name: str, entry: object) -> FileEntry:
    fields = _check_keys(name, entry, {"bytes", "sha256", "dtype", "shape"})
    file, dtype, shape = _parse_file(name, fields), fields["dtype"], fields["shape"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name} has the dtype {dtype!r}, not one of {', '.join(sorted(DTYPES))}")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 32 or not all(map(_is_count, shape)):
        raise ValueError(f"{name} has the shape {shape!r:.100}")
    itemsize = np.dtype(dtype).itemsize
    if math.prod(max(1, n) for n in shape) * itemsize >= 2**63:  # more than numpy can address
        raise ValueError(f"{name} has the shape {shape!r:.100}")
    expected = len(npy_header(dtype, tuple(shape))) + math.prod(shape) * itemsize
    if file.size != expected:
        raise ValueError(f"{name} has {file.size} bytes, but {dtype} of the shape {shape} takes {expected}")
    return FileEntry(file.size, file.sha256, dtype, tuple(shape))


def _parse_file(name: str, fields: Json) -> FileEntry:
    size, digest = fields["bytes"], fields["sha256"]
    if not _is_count(size) or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise ValueError(f"{name} has no size and checksum")
    return FileEntry(size, digest)


def _check_keys(name: str, content: object, keys: set[str]) -> Json:
    if not isinstance(content, dict) or set(content) != keys:
        raise ValueError(f"{name} must have exactly {', '.join(sorted(keys))}")
    return content


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63
