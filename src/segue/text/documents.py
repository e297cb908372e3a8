"""The texts of items, from the columns of a table: a title, and everything else."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import polars as pl

from segue.errors import DataError, SettingError

TITLES = ("title", "name")
YEAR = re.compile(r"\s*\((\d{4})\)\s*$")
ARTICLE = re.compile(r"^(.*), (The|A|An)$")
WORD = re.compile(r"[^\W_]+")
MARKS = re.compile(r"[\u0300-\u036f'’]")


class Documents(NamedTuple):
    """What is known of items in words.

    Attributes:
        titles: as they are read, "The Matrix" and not "Matrix, The (1999)".
        bodies: all other text, empty where there is none.
    """

    titles: list[str]
    bodies: list[str]


def columns_of(text: str) -> list[str]:
    """Return the columns that a list such as "title,genres" names, or raise `SettingError`."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise SettingError(f"columns={text!r} names no column; name some, such as 'title,genres'")
    return names


def documents_of(table: pl.DataFrame | None, columns: str) -> Documents:
    """Put a table's columns into words: the title (`title` or `name`, else the first), and the others.

    Lists and values between bars (`Action|Crime`) are told with commas; the year at the end of a title
    belongs to the others. Raises `DataError` for a missing column, and where no item has any text.
    """
    names = columns_of(columns)
    if table is None:
        raise DataError(f"nothing is known of the items; give a table with {', '.join(names)} (items=)")
    for name in names:
        if name not in table.columns:
            raise DataError(f"the items have no column {name!r}; there are {', '.join(table.columns)}")
    first = next((name for name in TITLES if name in names), names[0])
    raw = _told(table[first]).to_list()
    years = [match[1] if (match := YEAR.search(title)) else "" for title in raw]
    titles = [ARTICLE.sub(r"\2 \1", YEAR.sub("", title)) for title in raw]
    others = [_told(table[name]).to_list() for name in names if name != first]
    bodies = [". ".join(part for part in parts if part) for parts in zip(years, *others, strict=True)]
    if not any(title or body for title, body in zip(titles, bodies, strict=True)):
        raise DataError(f"no item has any text in {', '.join(names)}")
    return Documents(titles, bodies)


def stacked(known: pl.DataFrame | None, new: pl.DataFrame) -> pl.DataFrame:
    """Put a table of new items below that of known ones; columns that the new ones lack are null."""
    if known is None:
        return new
    shared = [_as_told(new[name], known[name].dtype) for name in known.columns if name in new.columns]
    try:
        return pl.concat([known, pl.DataFrame(shared)], how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the new items' columns are of other types than the known ones': {error}") from error


def words_of(text: str) -> list[str]:
    """Return the words of a text: letters and digits, without capitals, accents and apostrophes."""
    return WORD.findall(MARKS.sub("", _decomposed(text)))


def _decomposed(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKD", text).casefold()


def _told(series: pl.Series) -> pl.Series:
    """A column as trimmed texts, empty where there is nothing."""
    if isinstance(series.dtype, (pl.List, pl.Array)):
        series = series.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
    elif series.dtype == pl.Null:
        series = series.cast(pl.String)
    elif series.dtype.is_nested() or series.dtype == pl.Object:
        raise DataError(f"the column {series.name!r} holds {series.dtype}, which is no text; cast it first")
    return series.cast(pl.String).fill_null("").str.replace_all("|", ", ", literal=True).str.strip_chars()


def _as_told(column: pl.Series, known: pl.DataType) -> pl.Series:
    """A column in the form of the one that is there: lists, or values between bars."""
    if isinstance(known, pl.List) and column.dtype == pl.String:
        return column.str.split("|")
    if known == pl.String and isinstance(column.dtype, pl.List):
        return column.cast(pl.List(pl.String)).list.join("|")
    return column
