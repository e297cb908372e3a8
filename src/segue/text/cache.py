"""An on-disk cache of text vectors, keyed by the hash of the text, so that no text is encoded twice."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from segue.data.download import cache_folder
from segue.errors import DataError, EncoderError
from segue.progress import Progress, silent
from segue.text.encoders import Encoder

FOLDER = "text"
KEYS_PER_QUERY = 500
LOCK_TIMEOUT = 60.0  # seconds to wait while another process writes


def encode_cached(
    encoder: Encoder, texts: Sequence[str], *, folder: Path | None = None, progress: Progress = silent
) -> np.ndarray:
    """Return the vectors (n, dim) float32 of texts, from the cache where possible.

    Each batch is stored as soon as it is encoded, so an interrupted call can be repeated and continues
    where it stopped.

    Args:
        encoder: encodes the texts that are not in the cache.
        texts: texts of white space alone get a vector of zeros; no texts give an array of shape (0, 0).
        folder: the cache folder; the default is `text` in the folder that SEGUE_CACHE names.
        progress: called before each batch.

    Raises `EncoderError` if the encoder fails and `DataError` if the cache is unusable.
    """
    if len(texts) == 0:
        return np.zeros((0, 0), np.float32)
    keys = [_hash(text) for text in texts]
    by_key = {key: text for key, text in zip(keys, texts, strict=True) if text.strip()}
    folder = cache_folder() / FOLDER if folder is None else folder
    with _open(folder / f"{_file_name(encoder.key)}.sqlite") as database:
        vectors = _read(database, list(by_key))
        missing = [key for key in by_key if key not in vectors]
        cached = len(by_key) - len(missing)
        for first in range(0, len(missing), encoder.batch):
            progress("embedding", cached + first, len(by_key))
            batch = missing[first : first + encoder.batch]
            try:
                rows = np.ascontiguousarray(encoder.encode([by_key[key] for key in batch]), np.float32)
            except EncoderError as error:
                raise EncoderError(
                    f"{error}. {cached + first:,} of {len(by_key):,} texts are stored in {folder}; "
                    "repeat the call to continue from there"
                ) from error
            _write(database, batch, rows)
            vectors.update(zip(batch, rows, strict=True))
    progress("embedding", len(by_key), len(by_key))
    return _stack(keys, vectors, folder)


def _stack(keys: list[bytes], vectors: dict[bytes, np.ndarray], folder: Path) -> np.ndarray:
    """Return one row per key; keys without a vector get zeros."""
    dims = {len(vector) for vector in vectors.values()}
    if len(dims) > 1:
        raise DataError(
            f"vectors of {' and '.join(map(str, sorted(dims)))} dimensions are mixed in {folder}: another "
            "encoder of the same name filled it; delete that folder"
        )
    rows = np.zeros((len(keys), dims.pop() if dims else 0), np.float32)
    for row, key in enumerate(keys):
        if key in vectors:
            rows[row] = vectors[key]
    return rows


@contextmanager
def _open(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot use the cache {file}: {error}; set SEGUE_CACHE") from error
    try:
        with closing(sqlite3.connect(file, timeout=LOCK_TIMEOUT)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")
            yield database
    except sqlite3.Error as error:
        raise DataError(f"cannot use the cache {file}: {error}; delete it, or set SEGUE_CACHE") from error


def _read(database: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, np.ndarray]:
    """Return the stored vectors by key; damaged ones are ignored and later replaced."""
    vectors: dict[bytes, np.ndarray] = {}
    for first in range(0, len(keys), KEYS_PER_QUERY):
        part = keys[first : first + KEYS_PER_QUERY]
        marks = ",".join("?" * len(part))
        rows = database.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)  # noqa: S608
        vectors.update(
            (key, np.frombuffer(vector, np.float32)) for key, vector in rows if len(vector) % 4 == 0
        )
    return vectors


def _write(database: sqlite3.Connection, keys: list[bytes], rows: np.ndarray) -> None:
    with database:
        database.executemany(
            "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
            zip(keys, (row.tobytes() for row in rows), strict=True),
        )


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _file_name(key: str) -> str:
    """Return a portable file name: the key's safe characters, and a few digits of its hash."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '-', key)[:80]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
