"""Read delimited text (CSV, TSV), plain or compressed; all rows of a column decide its type."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from segue.data.tables import Table, reading_errors
from segue.errors import DataError

SAMPLE = 1_000  # rows from which types are inferred; the other rows are then checked against them
SEPARATORS = ",\t;|"
KIND = "delimited text (is every quote closed, and has every row as many fields as the first?)"


def open_delimited(path: Path, *, separator: str = "", names: Sequence[str] = ()) -> Table:
    """Open a text file.

    Args:
        path: the file.
        separator: the character between fields; empty: detect it in the first line.
        names: the columns of a file without a header line, in the order of its fields; "" skips a field.

    Raises:
        DataError: the file is empty, or is not delimited text.
    """
    if not path.stat().st_size:
        raise DataError(f"{path} is empty")
    separator = separator or _detect_separator(path)
    with reading_errors(str(path), KIND):
        scan = pl.scan_csv(
            path,
            separator=separator,
            has_header=not names,
            infer_schema=False,
            glob=False,
            quote_char=None if names else '"',
        )
        head = scan.head(SAMPLE).collect()
    if names:
        if head.width != len(names):
            raise DataError(
                f"{path} has {head.width} fields in a row, not the {len(names)} that MovieLens has there"
            )
        renames = {old: new for old, new in zip(head.columns, names, strict=True) if new}
        scan, head = scan.select(*renames).rename(renames), head.select(*renames).rename(renames)
    return Table(str(path), head.columns, lambda names, ids: _read(str(path), scan, head, names, ids))


def _detect_separator(path: Path) -> str:
    with reading_errors(str(path), KIND):
        lines = pl.scan_csv(
            path, separator="\x1f", has_header=False, infer_schema=False, glob=False, quote_char=None
        )
        first = lines.head(1).collect().item()
    outside = re.sub(r'"[^"]*"', "", first or "")
    return max(SEPARATORS, key=outside.count)


def _read(
    name: str, scan: pl.LazyFrame, head: pl.DataFrame, columns: Sequence[str], ids: Collection[str]
) -> pl.DataFrame:
    """Read columns with the types of the first rows, and again those columns that these types do not fit."""
    types = {column: _infer_type(head[column], column in ids) for column in columns}
    with reading_errors(name, KIND):
        frame = scan.select(_parsed(column, dtype) for column, dtype in types.items()).collect(
            engine="streaming"
        )
        doubtful = [column for column in columns if frame[column].null_count()]
        if doubtful:
            rows = scan.filter(pl.any_horizontal(pl.all().is_not_null()))  # skip blank lines
            certain = (_parsed(column, dtype) for column, dtype in types.items() if column not in doubtful)
            frame = rows.select(*certain, *doubtful).collect(engine="streaming").select(columns)
            frame = frame.with_columns(
                _parsed(column, _infer_type(frame[column], column in ids)) for column in doubtful
            )
    for column in ids:
        if (
            frame[column].dtype == pl.String
            and (broken := frame[column].str.contains("\n", literal=True)).any()
        ):
            row = broken.arg_true()[0] + 1
            raise DataError(
                f"{name}: the {column} in row {row} contains a line break; a quote is not closed there"
            )
    return frame


def _infer_type(texts: pl.Series, is_id: bool) -> pl.DataType | type[pl.DataType]:
    """Return the type that represents every text without loss: "7" is an integer, but "007" is text."""
    known = texts.drop_nulls()
    integers = known.to_frame("text").select((_parsed("text", pl.Int64)).is_not_null().all()).item()
    if len(known) and integers:
        return pl.Int64
    numbers = known.cast(pl.Float64, strict=False)
    if is_id or not len(known) or numbers.null_count() or known.str.contains(r"^[+-]?0\d").any():
        return pl.String
    return pl.Float64


def _parsed(column: str, dtype: pl.DataType | type[pl.DataType]) -> pl.Expr:
    """Return the column as the type, null where the text is not the canonical form of a value."""
    text = pl.col(column)
    if dtype == pl.Int64:
        number = text.cast(pl.Int64, strict=False)
        return pl.when(number.cast(pl.String) == text).then(number).alias(column)
    return text.cast(pl.Float64, strict=False) if dtype == pl.Float64 else text
