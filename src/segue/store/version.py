"""One version of a model: a folder of checksummed files that never change after they are written."""

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
from typing import BinaryIO, TypeAlias

import numpy as np
import polars as pl

from segue.errors import CorruptModelError, DataError, NewerFormatError, OlderFormatError
from segue.progress import Progress
from segue.store.manifest import LIMIT, FileEntry, Json, Manifest, npy_header, parse, render

MANIFEST = "manifest.json"
Buffer: TypeAlias = bytes | memoryview
CHUNK = 1 << 20  # bytes hashed, written or read at a time


@dataclass(frozen=True, eq=False)
class StoredModel:
    """One version of a model, read from disk.

    Attributes:
        path: the folder of the version.
        version: the name of the version.
        meta: JSON values.
        arrays: little-endian arrays in C order, memory-mapped, read-only.
        tables: frames, read into memory.
    """

    path: Path
    version: str
    meta: Json
    arrays: dict[str, np.ndarray]
    tables: dict[str, pl.DataFrame]


def fill(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    tables: Mapping[str, pl.DataFrame],
    meta: Json,
) -> str:
    """Write and flush all files of a version; return the checksum of its manifest."""
    manifest = Manifest(
        meta,
        {name: _write_array(folder / f"{name}.npy", array) for name, array in arrays.items()},
        {name: write_file(folder / f"{name}.arrow", _arrow_chunks(name, tables[name])) for name in tables},
    )
    entry = write_file(folder / MANIFEST, [render(manifest)])
    flush_folder(folder)
    return entry.sha256


def read(path: Path, name: str) -> StoredModel:
    """Open a version: map arrays after checking size and header, read tables after checking the checksum."""
    manifest = _read_manifest(path, name)
    arrays = {key: _map_array(path / f"{key}.npy", file) for key, file in manifest.arrays.items()}
    tables = {key: _read_table(path / f"{key}.arrow", file) for key, file in manifest.tables.items()}
    return StoredModel(path, name, manifest.meta, arrays, tables)


def verify_files(path: Path, name: str, progress: Progress) -> None:
    """Check the checksum of every file, and that the manifest lists every file.

    Raises:
        CorruptModelError: a file is damaged, missing or not in the manifest.
    """
    files = _read_manifest(path, name).files()
    unlisted = {entry.name for entry in os.scandir(path)} - {MANIFEST, *files}
    if unlisted:
        raise CorruptModelError(f"{path / min(unlisted)} is not a file of this model; remove it")
    total, done = sum(file.size for file in files.values()), 0
    for key, file in files.items():
        digest = hashlib.sha256()
        with open_regular(path / key, file.size) as source:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                progress("verifying", done, total)
        _check_digest(path / key, digest.hexdigest(), file)


def write_file(path: Path, chunks: Iterable[Buffer]) -> FileEntry:
    """Write chunks of bytes to a file and flush it to the disk."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return FileEntry(size, digest.hexdigest())


def flush_folder(folder: Path) -> None:
    """Flush created and renamed entries of a folder to the disk (not possible on Windows)."""
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def open_regular(path: Path, size: int | None = None) -> Iterator[BinaryIO]:
    """Open a regular file, and check its size if one is given.

    Raises:
        CorruptModelError: the file is missing, not regular or of another size.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CorruptModelError(f"{path} is missing; {_advice(path)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise CorruptModelError(f"{path} is not a file; {_advice(path)}")
    if size is not None and status.st_size != size:
        raise CorruptModelError(
            f"{path} has {status.st_size:,} bytes, but {size:,} were written; {_advice(path)}"
        )
    with path.open("rb") as file:
        yield file


def little_endian(dtype: np.dtype[np.generic]) -> str:
    """Return the name of the little-endian form of a dtype, such as `<f4`."""
    return dtype.newbyteorder("<").str


def _write_array(path: Path, array: np.ndarray) -> FileEntry:
    file = write_file(path, _npy_chunks(array))
    return FileEntry(file.size, file.sha256, little_endian(array.dtype), array.shape)


def _npy_chunks(array: np.ndarray) -> Iterator[Buffer]:
    """Yield the bytes of a .npy file, in C order and little-endian, without copying the whole array."""
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
        yield np.ascontiguousarray(block).view(np.uint8).data


def _arrow_chunks(name: str, frame: pl.DataFrame) -> Iterator[Buffer]:
    buffer = io.BytesIO()
    try:
        # Every Arrow library reads the oldest layout.
        frame.rechunk().write_ipc(buffer, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the table {name!r} cannot be stored: {error}; cast its columns first") from error
    view = buffer.getbuffer()
    for start in range(0, len(view), CHUNK):
        yield view[start : start + CHUNK]


def _read_manifest(path: Path, name: str) -> Manifest:
    file = path / MANIFEST
    with open_regular(file) as source:
        if os.fstat(source.fileno()).st_size > LIMIT:
            raise CorruptModelError(f"{file} is too large for a manifest; {_advice(file)}")
        raw = source.read()
    if hashlib.sha256(raw).hexdigest()[:16] != name[-16:]:
        raise CorruptModelError(f"{file} is damaged (its checksum differs); {_advice(file)}")
    try:
        return parse(raw)
    except (NewerFormatError, OlderFormatError) as error:
        raise type(error)(f"{path} cannot be read: {error}") from error
    except ValueError as error:
        raise CorruptModelError(f"{file} is not the manifest of a model: {error}; {_advice(file)}") from error


def _map_array(path: Path, file: FileEntry) -> np.ndarray:
    header = npy_header(file.dtype, file.shape)
    with open_regular(path, file.size) as source:
        if source.read(len(header)) != header:
            raise CorruptModelError(
                f"{path} does not have the header of an array of {file.dtype} {file.shape}; {_advice(path)}"
            )
        mapped = mmap.mmap(source.fileno(), file.size, access=mmap.ACCESS_READ)
    return np.ndarray(file.shape, file.dtype, buffer=mapped, offset=len(header))


def _read_table(path: Path, file: FileEntry) -> pl.DataFrame:
    with open_regular(path, file.size) as source:
        raw = source.read(file.size)
    _check_digest(path, hashlib.sha256(raw).hexdigest(), file)
    try:
        # Read from memory, not by path: some releases of polars map the file and trust its bytes.
        return pl.read_ipc(raw).rechunk()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise CorruptModelError(f"{path} is not a table ({error}); {_advice(path)}") from error


def _check_digest(path: Path, digest: str, file: FileEntry) -> None:
    if digest != file.sha256:
        raise CorruptModelError(f"{path} is damaged (its checksum differs); {_advice(path)}")


def _advice(path: Path) -> str:
    """Return the end of a message: how to recover from a damaged file."""
    return f"copy or save the model again, or open another version than {path.parent.name}"
