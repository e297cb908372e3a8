"""Write a large table to one Parquet file, part by part."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from segue.errors import DataError


def write_parts(parts: Iterable[pl.DataFrame], file: Path) -> int:
    """Write parts of a table to a Parquet file and return the number of rows.

    Memory holds a few parts at a time. The file replaces an existing one only when it is complete.

    Args:
        parts: one or more frames with the same schema.
        file: the path of the file; its folder must exist.

    Raises:
        DataError: the file cannot be written.
    """
    if file.is_dir():
        raise DataError(f"{file} is a folder; name the Parquet file to write")
    if not file.parent.is_dir():
        raise DataError(f"there is no folder {file.parent} to write {file.name} into")
    rows = 0
    failures: list[BaseException] = []
    stream = iter(parts)
    first = next(stream)

    def count_rows(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal rows
        for part in chain([first], _recording(stream, failures)):
            rows += part.height
            yield part

    try:
        # In a temporary folder: a polars thread that outlives an interrupt must not write to the target.
        with tempfile.TemporaryDirectory(
            prefix=f".{file.name}.", dir=file.parent, ignore_cleanup_errors=True
        ) as draft:
            complete = Path(draft, file.name)
            register_io_source(count_rows, schema=first.schema).sink_parquet(complete)
            complete.replace(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        if failures:
            raise failures[0] from None
        raise DataError(f"{file} cannot be written: {error}") from error
    return rows


def _recording(parts: Iterator[pl.DataFrame], failures: list[BaseException]) -> Iterator[pl.DataFrame]:
    """Yield the parts and record their exceptions, since some releases of polars report only the message."""
    try:
        yield from parts
    except GeneratorExit:
        raise
    except BaseException as error:
        failures.append(error)
        raise
