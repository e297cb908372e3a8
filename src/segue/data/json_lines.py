"""Read JSON: a list of objects, or one object per line, plain or compressed by gzip."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from segue.data.tables import Table, reading_errors
from segue.errors import DataError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
GZIP = b"\x1f\x8b"


def open_json(path: Path) -> Table:
    """Open a file of JSON objects. Their keys are the columns; a missing key is null."""
    name = str(path)
    with reading_errors(name, "JSON"):
        content = path.read_bytes()
        if content.startswith(GZIP):
            try:
                content = gzip.decompress(content)
            except (EOFError, zlib.error) as error:
                raise DataError(f"{path} is truncated or damaged: {error}") from error
        if not content.strip():
            raise DataError(f"{path} is empty")
        read = pl.read_json if content.lstrip().startswith(b"[") else pl.read_ndjson
        frame = read(io.BytesIO(content), infer_schema_length=None)

    def read_columns(names: Sequence[str], ids: Collection[str]) -> pl.DataFrame:
        return frame.select(names)

    return Table(name, frame.columns, read_columns)
