"""Delimited text: CSV and TSV, plain or compressed, whose columns are typed by all of their rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from segue.data.tables import Table, explained
from segue.errors import DataError

PROBE = 1_000  # rows from which the types are guessed; all others then check the guess
SEPARATORS = ",\t;|"
WANTED = "delimited text (is every quote closed, and has every row as many fields as the first?)"


def open_delimited(path: Path, *, separator: str = "", names: Sequence[str] = ()) -> Table:
    """Open a text file; the separator is found in its first line, which names the columns.

    With `names` there is no such line: they stand for the fields in order, and "" for one that is left out.
    """
    if not path.stat().st_size:
        raise DataError(f"{path} is empty")
    separator = separator or _separator(path)
    with explained(str(path), WANTED):
        scan = pl.scan_csv(
            path,
            separator=separator,
            has_header=not names,
            infer_schema=False,
            glob=False,
            quote_char=None if names else '"',
        )
        head = scan.head(PROBE).collect()
    if names:
        if head.width != len(names):
            raise DataError(
                f"{path} has {head.width} fields in a row, not the {len(names)} that MovieLens has there"
            )
        kept = {old: new for old, new in zip(head.columns, names, strict=True) if new}
        scan, head = scan.select(*kept).rename(kept), head.select(*kept).rename(kept)
    return Table(str(path), head.columns, lambda wanted, ids: _read(str(path), scan, head, wanted, ids))


def _separator(path: Path) -> str:
    with explained(str(path), WANTED):
        lines = pl.scan_csv(
            path, separator="\x1f", has_header=False, infer_schema=False, glob=False, quote_char=None
        )
        first = lines.head(1).collect().item()
    outside = re.sub(r'"[^"]*"', "", first or "")
    return max(SEPARATORS, key=outside.count)


def _read(
    name: str, scan: pl.LazyFrame, head: pl.DataFrame, wanted: Sequence[str], ids: Collection[str]
) -> pl.DataFrame:
    """Read with the types that the first rows suggest, and once more what these do not fit."""
    guess = {column: _kind(head[column], column in ids) for column in wanted}
    with explained(name, WANTED):
        frame = scan.select(_parsed(column, kind) for column, kind in guess.items()).collect(
            engine="streaming"
        )
        doubtful = [column for column in wanted if frame[column].null_count()]
        if doubtful:
            written = scan.filter(pl.any_horizontal(pl.all().is_not_null()))  # blank lines are no rows
            sure = (_parsed(column, kind) for column, kind in guess.items() if column not in doubtful)
            frame = written.select(*sure, *doubtful).collect(engine="streaming").select(wanted)
            frame = frame.with_columns(
                _parsed(column, _kind(frame[column], column in ids)) for column in doubtful
            )
    for column in ids:
        if (
            frame[column].dtype == pl.String
            and (broken := frame[column].str.contains("\n", literal=True)).any()
        ):
            row = broken.arg_true()[0] + 1
            raise DataError(
                f"{name}: the {column} in row {row} goes over a line's end; a quote is not closed there"
            )
    return frame


def _kind(texts: pl.Series, is_id: bool) -> pl.DataType | type[pl.DataType]:
    """Return the type that holds every text without loss: "7" is an integer, but "007" is text."""
    known = texts.drop_nulls()
    whole = known.to_frame("text").select((_parsed("text", pl.Int64)).is_not_null().all()).item()
    if len(known) and whole:
        return pl.Int64
    numbers = known.cast(pl.Float64, strict=False)
    if is_id or not len(known) or numbers.null_count() or known.str.contains(r"^[+-]?0\d").any():
        return pl.String
    return pl.Float64


def _parsed(column: str, kind: pl.DataType | type[pl.DataType]) -> pl.Expr:
    """The column as the type; null where the text is not what the type would be written as."""
    text = pl.col(column)
    if kind == pl.Int64:
        number = text.cast(pl.Int64, strict=False)
        return pl.when(number.cast(pl.String) == text).then(number).alias(column)
    return text.cast(pl.Float64, strict=False) if kind == pl.Float64 else text
