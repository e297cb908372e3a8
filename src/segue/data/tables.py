"""A table: named columns of a file, a frame or a query, of which only those that are needed are read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from segue.errors import DataError, MissingExtraError


@dataclass(frozen=True)
class Table:
    """What can be read.

    Attributes:
        name: what errors call it.
        columns: the names of all columns.
        read: called with the columns wanted, and with those that hold ids, which keep their text as written.
    """

    name: str
    columns: list[str]
    read: Callable[[Sequence[str], Collection[str]], pl.DataFrame]


@contextmanager
def explained(name: str, wanted: str) -> Iterator[None]:
    """Turn what polars and the system raise into one line that says what was being read."""
    try:
        yield
    # a damaged Parquet file can make polars panic, which is no Exception
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        why = str(error).strip().partition("\n")[0]
        raise DataError(f"{name} cannot be read as {wanted}: {why}") from error


def open_parquet(path: Path) -> Table:
    """Open a Parquet file."""
    name, wanted = str(path), "a Parquet file"
    with explained(name, wanted):
        columns = pl.scan_parquet(path, glob=False).collect_schema().names()

    def read(names: Sequence[str], ids: Collection[str]) -> pl.DataFrame:
        with explained(name, wanted):
            return pl.scan_parquet(path, glob=False).select(names).collect()

    return Table(name, columns, read)


def open_frame(source: Any) -> Table:
    """Open a frame of polars, pandas, pyarrow, DuckDB or any other library with the Arrow C stream."""
    name = f"the {type(source).__module__.partition('.')[0].lstrip('_')} frame"
    if type(source).__module__.startswith("pandas"):
        labels = {str(label): label for label in getattr(source, "columns", [])}
        return Table(
            name, list(labels), lambda names, _: _arrow(source[[labels[one] for one in names]], name)
        )
    frame = source if isinstance(source, pl.LazyFrame) else _arrow(source, name)

    def read(names: Sequence[str], ids: Collection[str]) -> pl.DataFrame:
        with explained(name, "a table"):
            return frame.lazy().select(names).collect()

    with explained(name, "a table"):
        return Table(name, frame.lazy().collect_schema().names(), read)


def _arrow(source: Any, name: str) -> pl.DataFrame:
    try:
        with explained(name, "a table"):
            return pl.DataFrame(source)
    except ImportError as error:
        raise MissingExtraError(
            f"{name} hands its columns over through pyarrow, which is not installed: pip install pyarrow"
        ) from error
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        why = str(error).partition("\n")[0]
        raise DataError(
            f"{name} cannot be read as a table of one type a column: {why}; cast it first"
        ) from error
