"""One version of a model: a folder of checked files that never change once they are written."""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl

from segue.errors import CorruptModelError, DataError, NewerFormatError
from segue.progress import Progress
from segue.store.manifest import LIMIT, File, Manifest, npy_header, parse, render

MANIFEST = "manifest.json"
CHUNK = 1 << 20  # bytes that are hashed, written or read at a time


@dataclass(frozen=True, eq=False)
class Stored:
    """One version of a model, as it lies on disk.

    Attributes:
        path: the folder of the version.
        version: its name.
        meta: plain JSON values.
        arrays: little-endian arrays in C order, mapped from disk, read-only.
        tables: frames, read into memory.
    """

    path: Path
    version: str
    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]
    tables: dict[str, pl.DataFrame]


def fill(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    tables: Mapping[str, pl.DataFrame],
    meta: dict[str, Any],
) -> str:
    """Write all files of a version through to the disk; return the checksum of its manifest."""
    manifest = Manifest(
        meta,
        {name: _write_array(folder / f"{name}.npy", array) for name, array in arrays.items()},
        {name: write_file(folder / f"{name}.arrow", _arrow_chunks(name, tables[name])) for name in tables},
    )
    written = write_file(folder / MANIFEST, [render(manifest)])
    flush_folder(folder)
    return written.sha256


def read(path: Path, name: str) -> Stored:
    """Open a version: arrays checked by size and header and mapped, tables checked by checksum and read."""
    manifest = _read_manifest(path, name)
    arrays = {key: _map_array(path / f"{key}.npy", file) for key, file in manifest.arrays.items()}
    tables = {key: _read_table(path / f"{key}.arrow", file) for key, file in manifest.tables.items()}
    return Stored(path, name, manifest.meta, arrays, tables)


def check_bytes(path: Path, name: str, progress: Progress) -> None:
    """Compare the checksum of every file, and raise where there is a file that the manifest does not list."""
    files = _read_manifest(path, name).files()
    foreign = {entry.name for entry in os.scandir(path)} - {MANIFEST, *files}
    if foreign:
        raise CorruptModelError(f"{path / min(foreign)} is not a file of this model; remove it")
    total, done = sum(file.size for file in files.values()), 0
    for key, file in files.items():
        digest = hashlib.sha256()
        with reading(path / key, file.size) as source:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                progress("verifying", done, total)
        _check_digest(path / key, digest.hexdigest(), file)


def write_file(path: Path, chunks: Iterable[Any]) -> File:
    """Write buffers of bytes through to the disk."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return File(size, digest.hexdigest())


def flush_folder(folder: Path) -> None:
    """Make what was created or renamed in a folder outlast a power cut (Windows has no call for it)."""
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def reading(path: Path, size: int | None = None) -> Iterator[BinaryIO]:
    """Open a regular file, of the given size where one is wanted, or raise `CorruptModelError`."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CorruptModelError(f"{path} is missing; {_again(path)}") from error
    if not stat.S_ISREG(found.st_mode):
        raise CorruptModelError(f"{path} is not a file; {_again(path)}")
    if size is not None and found.st_size != size:
        raise CorruptModelError(
            f"{path} has {found.st_size:,} bytes, but {size:,} were written; {_again(path)}"
        )
    with path.open("rb") as file:
        yield file


def little_endian(dtype: np.dtype[Any]) -> str:
    """The name under which a dtype is kept."""
    return dtype.newbyteorder("<").str


def _write_array(path: Path, array: np.ndarray) -> File:
    file = write_file(path, _npy_chunks(array))
    return File(file.size, file.sha256, little_endian(array.dtype), array.shape)


def _npy_chunks(array: np.ndarray) -> Iterator[Any]:
    """The bytes of a .npy file, in C order and little-endian, without a copy of the whole."""
    dtype = np.dtype(little_endian(array.dtype))
    yield npy_header(dtype.str, array.shape)
    blocks = np.nditer(
        array,
        ["external_loop", "buffered", "zerosize_ok"],
        ["readonly"],
        dtype,
        order="C",
        casting="equiv",
        buffersize=CHUNK // dtype.itemsize,
    )
    for block in blocks:
        yield np.ascontiguousarray(block).view(np.uint8)


def _arrow_chunks(name: str, frame: pl.DataFrame) -> Iterator[Any]:
    made = io.BytesIO()
    try:
        # The oldest layout is the one that every Arrow library reads.
        frame.rechunk().write_ipc(made, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the table {name!r} cannot be kept: {error}; cast its columns first") from error
    view = made.getbuffer()
    for start in range(0, len(view), CHUNK):
        yield view[start : start + CHUNK]


def _read_manifest(path: Path, name: str) -> Manifest:
    file = path / MANIFEST
    with reading(file) as source:
        if os.fstat(source.fileno()).st_size > LIMIT:
            raise CorruptModelError(f"{file} is larger than any manifest; {_again(file)}")
        raw = source.read()
    if hashlib.sha256(raw).hexdigest()[:16] != name[-16:]:
        raise CorruptModelError(f"{file} holds other bytes than were written; {_again(file)}")
    try:
        return parse(raw)
    except NewerFormatError as error:
        raise NewerFormatError(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise CorruptModelError(f"{file} is not the manifest of a model: {error}; {_again(file)}") from error


def _map_array(path: Path, file: File) -> np.ndarray:
    header = npy_header(file.dtype, file.shape)
    with reading(path, file.size) as source:
        if source.read(len(header)) != header:
            raise CorruptModelError(
                f"{path} does not begin like an array of {file.dtype} {file.shape}; {_again(path)}"
            )
        mapped = mmap.mmap(source.fileno(), file.size, access=mmap.ACCESS_READ)
    return np.ndarray(file.shape, file.dtype, buffer=mapped, offset=len(header))


def _read_table(path: Path, file: File) -> pl.DataFrame:
    with reading(path, file.size) as source:
        raw = source.read(file.size)
    _check_digest(path, hashlib.sha256(raw).hexdigest(), file)
    try:
        # From memory, never by path: some releases of polars map the path and trust its bytes blindly.
        return pl.read_ipc(raw).rechunk()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise CorruptModelError(f"{path} is not a table ({error}); {_again(path)}") from error


def _check_digest(path: Path, digest: str, file: File) -> None:
    if digest != file.sha256:
        raise CorruptModelError(f"{path} holds other bytes than were written; {_again(path)}")


def _again(path: Path) -> str:
    """What to do about a damaged file."""
    return f"copy or save the model again, or open another version than {path.parent.name}"
