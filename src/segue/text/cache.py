"""Vectors of texts on disk, by what the texts say: nothing is encoded twice, and broken-off work goes on."""

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
ASKED = 500  # keys in a query
WAIT = 60.0  # seconds for another process that writes


def encoded(
    encoder: Encoder, texts: Sequence[str], *, folder: Path | None = None, progress: Progress = silent
) -> np.ndarray:
    """Return the vectors (n, dim) float32 of texts, from the cache where it has them, (n, 0) of no texts.

    Texts of white space alone get zeros. What is encoded is kept batch by batch, so that the next call goes
    on where one was broken off. `folder`: of the cache; None is `text` in the folder that SEGUE_CACHE names.

    Raises `EncoderError` where the encoder fails, `DataError` where the cache cannot be used.
    """
    if len(texts) == 0:
        return np.zeros((0, 0), np.float32)
    keys = [_key(text) for text in texts]
    wanted = {key: text for key, text in zip(keys, texts, strict=True) if text.strip()}
    folder = cache_folder() / FOLDER if folder is None else folder
    with _opened(folder / f"{_slug(encoder.key)}.sqlite") as store:
        found = _read(store, list(wanted))
        missing = [key for key in wanted if key not in found]
        done = len(wanted) - len(missing)
        for first in range(0, len(missing), encoder.batch):
            progress("embedding", done + first, len(wanted))
            batch = missing[first : first + encoder.batch]
            try:
                made = encoder.encode([wanted[key] for key in batch])
            except EncoderError as error:
                raise EncoderError(
                    f"{error}. {done + first:,} of {len(wanted):,} texts are done and kept in {folder}; "
                    "the same call goes on from there"
                ) from error
            rows = np.ascontiguousarray(made, np.float32)
            with store:
                store.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                    zip(batch, (row.tobytes() for row in rows), strict=True),
                )
            found.update(zip(batch, rows, strict=True))
    progress("embedding", len(wanted), len(wanted))
    return _stacked(keys, found, folder)


def _stacked(keys: list[bytes], found: dict[bytes, np.ndarray], folder: Path) -> np.ndarray:
    dims = {len(row) for row in found.values()}
    if len(dims) > 1:
        raise DataError(
            f"the encoder's vectors have {' and '.join(map(str, sorted(dims)))} dimensions: "
            f"it is not the one that filled {folder}; delete that folder"
        )
    made = np.zeros((len(keys), dims.pop() if dims else 0), np.float32)
    for row, key in enumerate(keys):
        if key in found:
            made[row] = found[key]
    return made


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"the cache {file} cannot be used: {error}; set SEGUE_CACHE") from error
    try:
        with closing(sqlite3.connect(file, timeout=WAIT)) as store:
            store.execute("PRAGMA journal_mode = WAL")
            store.execute("PRAGMA synchronous = NORMAL")
            store.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")
            yield store
    except sqlite3.Error as error:
        raise DataError(f"the cache {file} cannot be used: {error}; delete it, or set SEGUE_CACHE") from error


def _read(store: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, np.ndarray]:
    found: dict[bytes, np.ndarray] = {}
    for first in range(0, len(keys), ASKED):
        part = keys[first : first + ASKED]
        marks = ",".join("?" * len(part))
        rows = store.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)  # noqa: S608
        found.update((key, np.frombuffer(vector, np.float32)) for key, vector in rows if len(vector) % 4 == 0)
    return found


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _slug(key: str) -> str:
    """A file's name: the key as far as any system takes it, and a few digits of its hash."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '-', key)[:80]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
