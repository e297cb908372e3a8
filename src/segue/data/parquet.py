"""Write a long table to one Parquet file, a part at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from segue.errors import DataError


def write_parts(parts: Iterable[pl.DataFrame], file: Path) -> int:
    """Write the parts, at least one and all of one schema, below each other; return the number of rows.

    Memory holds a few parts at a time. The file appears under its name when it is whole; until then
    whatever stood there stays. Raises `DataError` where it cannot be written.
    """
    if file.is_dir():
        raise DataError(f"{file} is a folder; name the Parquet file to write")
    if not file.parent.is_dir():
        raise DataError(f"there is no folder {file.parent} to write {file.name} into")
    rows = 0
    ended: list[BaseException] = []
    stream = iter(parts)
    first = next(stream)

    def counted(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal rows
        for part in chain([first], _noting(stream, ended)):
            rows += part.height
            yield part

    try:
        # A folder of its own: a thread of polars that outlives an interrupt then has nowhere to write.
        with tempfile.TemporaryDirectory(
            prefix=f".{file.name}.", dir=file.parent, ignore_cleanup_errors=True
        ) as draft:
            whole = Path(draft, file.name)
            register_io_source(counted, schema=first.schema).sink_parquet(whole)
            whole.replace(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        if ended:
            raise ended[0] from None
        raise DataError(f"{file} cannot be written: {error}") from error
    return rows


def _noting(parts: Iterator[pl.DataFrame], ended: list[BaseException]) -> Iterator[pl.DataFrame]:
    """Pass the parts on, and keep what they raise: some releases of polars only put it in words."""
    try:
        yield from parts
    except GeneratorExit:
        raise
    except BaseException as error:
        ended.append(error)
        raise
