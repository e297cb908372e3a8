"""Tables: named columns of a file, a frame or a query, read column by column."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from segue.errors import DataError, MissingExtraError

Source: TypeAlias = Any  # a path, URL, frame or matrix of any library: foreign types


@dataclass(frozen=True)
class Table:
    """An open table.

    Attributes:
        name: the name of the table in messages.
        columns: the names of all columns.
        read: a function of the columns to read and of those among them that hold ids, which keep their text.
    """

    name: str
    columns: list[str]
    read: Callable[[Sequence[str], Collection[str]], pl.DataFrame]


@contextmanager
def reading_errors(name: str, kind: str) -> Iterator[None]:
    """Turn errors of polars and of the system into one line that names the source."""
    try:
        yield
    # polars may panic at a damaged Parquet file, and its panic is not an Exception
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{name} cannot be read as {kind}: {reason}") from error


def open_parquet(path: Path) -> Table:
    """Open a Parquet file."""
    name, kind = str(path), "a Parquet file"
    with reading_errors(name, kind):
        columns = pl.scan_parquet(path, glob=False).collect_schema().names()

    def read(names: Sequence[str], ids: Collection[str]) -> pl.DataFrame:
        with reading_errors(name, kind):
            return pl.scan_parquet(path, glob=False).select(names).collect()

    return Table(name, columns, read)


def open_frame(source: Source) -> Table:
    """Open a frame of polars, pandas, pyarrow, DuckDB or another library with Arrow C streams."""
    name = f"the {type(source).__module__.partition('.')[0].lstrip('_')} frame"
    if type(source).__module__.startswith("pandas"):
        labels = {str(label): label for label in getattr(source, "columns", [])}
        return Table(
            name,
            list(labels),
            lambda names, _: _from_arrow(source[[labels[column] for column in names]], name),
        )
    frame = source if isinstance(source, pl.LazyFrame) else _from_arrow(source, name)

    def read(names: Sequence[str], ids: Collection[str]) -> pl.DataFrame:
        with reading_errors(name, "a table"):
            return frame.lazy().select(names).collect()

    with reading_errors(name, "a table"):
        return Table(name, frame.lazy().collect_schema().names(), read)


def _from_arrow(source: Source, name: str) -> pl.DataFrame:
    try:
        with reading_errors(name, "a table"):
            return pl.DataFrame(source)
    except ImportError as error:
        raise MissingExtraError(
            f"reading {name} needs pyarrow, which is not installed: pip install pyarrow"
        ) from error
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{name} cannot be read as a table with one type per column: {reason}; cast its columns first"
        ) from error
