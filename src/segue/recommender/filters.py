"""Filters: which items a list may contain, as bitmaps over the items of a model."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from segue.data.ids import Id
from segue.errors import SettingError
from segue.recommender.frames import as_series
from segue.recommender.options import ListOptions
from segue.recommender.state import RecommenderState

CONDITION = re.compile(r"(?P<column>[^=!<>~]+?)\s*(?P<sign>!=|>=|<=|=|>|<)\s*(?P<value>.*)", re.DOTALL)
SEPARATOR = "|"  # between the values of a text cell (Drama|Comedy), and between alternatives of a condition
CACHED = 256  # bitmaps of conditions
MAX_CONDITIONS = 10  # of one request


@dataclass(frozen=True)
class Condition:
    """A comparison of a column of the item metadata with a value, such as `year>=1990`."""

    column: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Return the parsed condition, or raise `SettingError`."""
        match = CONDITION.fullmatch(text.strip())
        if match is None or not match["value"].strip():
            raise SettingError(
                f"the condition {text[:100]!r} must be COLUMN=VALUE, such as genres=Drama or "
                "year>=1990, with one of = != >= <= > <",
                arguments=("where",),
            )
        return cls(match["column"].strip(), match["sign"], match["value"].strip())


class ItemFilters:
    """Bitmaps of the allowed items of one model; those of metadata conditions are cached."""

    def __init__(self, state: RecommenderState) -> None:
        self._items, self._metadata = state.items, state.item_metadata
        self._cache: OrderedDict[tuple[str, ...], np.ndarray] = OrderedDict()

    def allowed(self, options: ListOptions) -> np.ndarray | None:
        """Return the bitmap (items,) of `exclude`, `allow` and `where` together; None if all are allowed."""
        bits = self.bitmap(options.allow, options.where)
        exclude = self.rows(options.exclude)
        if not len(exclude):
            return bits
        bits = np.ones(len(self._items), bool) if bits is None else bits.copy()
        bits[exclude] = False
        return bits

    def bitmap(self, allow: Iterable[Id] | None, where: Iterable[str]) -> np.ndarray | None:
        """Return the bitmap (items,) of `allow` and `where` together; None if all items are allowed."""
        conditions = tuple(where)
        bits = self._where(conditions) if conditions else None
        if allow is None:
            return bits
        listed = np.zeros(len(self._items), bool)
        listed[self.rows(allow)] = True
        return listed if bits is None else listed & bits

    def rows(self, ids: Iterable[Id]) -> np.ndarray:
        """Return the sorted distinct rows (m,) int32 of ids; unknown ids are ignored."""
        rows = self._items.rows(as_series(ids))
        known: np.ndarray = np.unique(rows[rows >= 0]).astype(np.int32)
        return known

    def _where(self, conditions: tuple[str, ...]) -> np.ndarray:
        bits = self._cache.get(conditions)
        if bits is None:
            if len(conditions) > MAX_CONDITIONS:
                raise SettingError(
                    f"{len(conditions)} conditions came; at most {MAX_CONDITIONS} are allowed",
                    arguments=("where",),
                )
            bits = np.ones(len(self._items), bool)
            for text in conditions:
                bits &= self._matches(Condition.parse(text))
            bits.flags.writeable = False
            self._cache[conditions] = bits
            if len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        self._cache.move_to_end(conditions)
        return bits

    def _matches(self, condition: Condition) -> np.ndarray:
        columns = [] if self._metadata is None else self._metadata.columns
        if self._metadata is None or condition.column not in columns:
            known = f"; it has {', '.join(columns)}" if columns else ": the model has no metadata"
            raise SettingError(
                f"the item metadata has no column {condition.column[:100]!r}{known}", arguments=("where",)
            )
        series = self._metadata[condition.column]
        matches = _numeric(series, condition) if series.dtype.is_numeric() else _textual(series, condition)
        bits: np.ndarray = matches.fill_null(value=False).to_numpy()
        return bits


def _numeric(series: pl.Series, condition: Condition) -> pl.Series:
    try:
        values = [float(part) for part in condition.value.split(SEPARATOR)]
    except ValueError as error:
        raise SettingError(
            f"the column {condition.column!r} is numeric, but it is compared with {condition.value[:100]!r}",
            arguments=("where",),
        ) from error
    if condition.sign in ("=", "!="):
        equal = series.cast(pl.Float64).is_in(values)
        return equal if condition.sign == "=" else ~equal
    if len(values) > 1:
        raise SettingError(
            f"{condition.column!r}{condition.sign} takes one number, not {len(values)}", arguments=("where",)
        )
    matches: pl.Series = {
        ">=": pl.Series.__ge__, "<=": pl.Series.__le__, ">": pl.Series.__gt__, "<": pl.Series.__lt__
    }[condition.sign](series, values[0])  # fmt: skip
    return matches


def _textual(series: pl.Series, condition: Condition) -> pl.Series:
    if condition.sign not in ("=", "!="):
        raise SettingError(
            f"the column {condition.column!r} is not numeric; compare it with = or !=", arguments=("where",)
        )
    alternatives = pl.Series([part.strip() for part in condition.value.split(SEPARATOR)])
    if isinstance(series.dtype, (pl.List, pl.Array)):
        lists = series.cast(pl.List(pl.String))
    else:
        lists = series.cast(pl.String).str.split(SEPARATOR)
    cells = lists.to_frame("value").with_row_index("row").explode("value")
    rows = cells.filter(pl.col("value").str.strip_chars().is_in(alternatives.implode()))["row"]
    bits = np.zeros(len(series), bool)
    bits[rows.to_numpy()] = True
    matches = pl.Series(bits)
    return matches if condition.sign == "=" else ~matches
