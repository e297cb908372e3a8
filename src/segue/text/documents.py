"""Item texts from the columns of a table: a title, and a body of all other columns."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import polars as pl

from segue.errors import DataError, SettingError

TITLE_COLUMNS = ("title", "name")
YEAR = re.compile(r"\s*\((\d{4})\)\s*$")
ARTICLE = re.compile(r"^(.*), (The|A|An)$")
WORD = re.compile(r"[^\W_]+")
MARKS = re.compile(r"[\u0300-\u036f'’]")


class Documents(NamedTuple):
    """The text of items, one title and one body per item.

    Attributes:
        titles: in reading order, "The Matrix" instead of "Matrix, The (1999)".
        bodies: all other text; empty where there is none.
    """

    titles: list[str]
    bodies: list[str]


def parse_columns(text: str) -> list[str]:
    """Return the column names in a list such as "title,genres"; raise `SettingError` if it has none."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise SettingError(
            f"columns={text!r} names no column; name some, such as 'title,genres'", arguments=("columns",)
        )
    return names


def build_documents(table: pl.DataFrame | None, columns: str) -> Documents:
    """Return the documents in a table's columns.

    The title is the column `title` or `name`, else the first one. Lists and values separated by bars
    (`Action|Crime`) are joined by commas; a year at the end of a title moves to the body.

    Raises `DataError` for a missing column, and if no item has any text.
    """
    names = parse_columns(columns)
    if table is None:
        raise DataError(
            f"the items have no metadata; give a table with {', '.join(names)} (items=)", arguments=("items",)
        )
    for name in names:
        if name not in table.columns:
            raise DataError(f"the items have no column {name!r}; there are {', '.join(table.columns)}")
    title_column = next((name for name in TITLE_COLUMNS if name in names), names[0])
    raw = _to_strings(table[title_column]).to_list()
    years = [match[1] if (match := YEAR.search(title)) else "" for title in raw]
    titles = [ARTICLE.sub(r"\2 \1", YEAR.sub("", title)) for title in raw]
    others = [_to_strings(table[name]).to_list() for name in names if name != title_column]
    bodies = [". ".join(part for part in parts if part) for parts in zip(years, *others, strict=True)]
    if not any(title or body for title, body in zip(titles, bodies, strict=True)):
        raise DataError(f"no item has any text in {', '.join(names)}")
    return Documents(titles, bodies)


def append_rows(known: pl.DataFrame | None, new: pl.DataFrame) -> pl.DataFrame:
    """Append the metadata of new items to that of known ones; columns missing from `new` become null."""
    if known is None:
        return new
    shared = [_cast_like(new[name], known[name].dtype) for name in known.columns if name in new.columns]
    try:
        return pl.concat([known, pl.DataFrame(shared)], how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"the columns of the new items have other types than those of known items: {error}"
        ) from error


def tokenize(text: str) -> list[str]:
    """Return the words of a text: letters and digits, in lower case, without accents and apostrophes."""
    return WORD.findall(MARKS.sub("", _fold_case(text)))


def _fold_case(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKD", text).casefold()


def _to_strings(series: pl.Series) -> pl.Series:
    """Return a column as trimmed strings, empty where it is null."""
    if isinstance(series.dtype, (pl.List, pl.Array)):
        series = series.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
    elif series.dtype == pl.Null:
        series = series.cast(pl.String)
    elif series.dtype.is_nested() or series.dtype == pl.Object:
        raise DataError(f"the column {series.name!r} holds {series.dtype}, not text; cast it first")
    return series.cast(pl.String).fill_null("").str.replace_all("|", ", ", literal=True).str.strip_chars()


def _cast_like(column: pl.Series, known: pl.DataType) -> pl.Series:
    """Convert a column to the known column's form: a list, or values separated by bars."""
    if isinstance(known, pl.List) and column.dtype == pl.String:
        return column.str.split("|")
    if known == pl.String and isinstance(column.dtype, pl.List):
        return column.cast(pl.List(pl.String)).list.join("|")
    return column
