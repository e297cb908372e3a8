"""Filters: allow lists and what is known of the items, as bitmaps over the items of a version."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from segue.errors import SettingError
from segue.recommender.facade import TrainedRecommender

CONDITION = re.compile(r"(?P<column>[^=!<>~]+?)\s*(?P<sign>!=|>=|<=|=|>|<)\s*(?P<value>.*)", re.DOTALL)
SEPARATOR = "|"  # parts the values of a text, as in Drama|Comedy, and those of which one is wanted
KEPT = 256  # bitmaps of conditions
MOST = 10  # conditions of one filter


@dataclass(frozen=True)
class Condition:
    """A column of the items' metadata, how it is compared, and with what, such as `year>=1990`."""

    column: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition, or raise `SettingError`."""
        found = CONDITION.fullmatch(text.strip())
        if found is None or not found["value"].strip():
            raise SettingError(
                f"the condition {text[:100]!r} must be COLUMN=VALUE, such as genres=Drama or "
                "year>=1990, with one of = != >= <= > <"
            )
        return cls(found["column"].strip(), found["sign"], found["value"].strip())


class Filters:
    """The conditions that have been asked of the items of one version, as bitmaps."""

    def __init__(self, recommender: TrainedRecommender) -> None:
        self._recommender = recommender
        self._kept: OrderedDict[tuple[str, ...], np.ndarray] = OrderedDict()

    def bitmap(self, allow: Iterable[str] | None, where: Iterable[str]) -> np.ndarray | None:
        """Return which items (n,) are allowed, have what is wanted and are so eligible; None for all."""
        wanted = tuple(where)
        bits = self._where(wanted) if wanted else None
        if allow is None:
            return bits
        rows = self._recommender.items.rows(list(allow))
        listed = np.zeros(len(self._recommender.items), bool)
        listed[rows[rows >= 0]] = True
        return listed if bits is None else listed & bits

    def _where(self, conditions: tuple[str, ...]) -> np.ndarray:
        bits = self._kept.get(conditions)
        if bits is None:
            if len(conditions) > MOST:
                raise SettingError(f"{len(conditions)} conditions came; at most {MOST} are taken")
            bits = np.ones(len(self._recommender.items), bool)
            for text in conditions:
                bits &= self._holds(Condition.parse(text))
            bits.flags.writeable = False
            self._kept[conditions] = bits
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(conditions)
        return bits

    def _holds(self, condition: Condition) -> np.ndarray:
        table = self._recommender.item_metadata
        columns = [] if table is None else table.columns
        if table is None or condition.column not in columns:
            known = f"; there are {', '.join(columns)}" if columns else ", and the model knows of none"
            raise SettingError(f"the items have no {condition.column[:100]!r}{known}")
        series = table[condition.column]
        held = _numeric(series, condition) if series.dtype.is_numeric() else _textual(series, condition)
        bits: np.ndarray = held.fill_null(value=False).to_numpy()
        return bits


def _numeric(series: pl.Series, condition: Condition) -> pl.Series:
    try:
        values = [float(part) for part in condition.value.split(SEPARATOR)]
    except ValueError as error:
        raise SettingError(
            f"{condition.column!r} is a number, but it is compared with {condition.value[:100]!r}"
        ) from error
    if condition.sign in ("=", "!="):
        equal = series.cast(pl.Float64).is_in(values)
        return equal if condition.sign == "=" else ~equal
    if len(values) > 1:
        raise SettingError(f"{condition.column!r}{condition.sign} takes one number, not {len(values)}")
    held: pl.Series = {
        ">=": pl.Series.__ge__, "<=": pl.Series.__le__, ">": pl.Series.__gt__, "<": pl.Series.__lt__
    }[condition.sign](series, values[0])  # fmt: skip
    return held


def _textual(series: pl.Series, condition: Condition) -> pl.Series:
    if condition.sign not in ("=", "!="):
        raise SettingError(f"{condition.column!r} is no number; ask with = or !=")
    wanted = pl.Series([part.strip() for part in condition.value.split(SEPARATOR)])
    if isinstance(series.dtype, (pl.List, pl.Array)):
        lists = series.cast(pl.List(pl.String))
    else:
        lists = series.cast(pl.String).str.split(SEPARATOR)
    cells = lists.to_frame("value").with_row_index("row").explode("value")
    found = cells.filter(pl.col("value").str.strip_chars().is_in(wanted.implode()))["row"]
    bits = np.zeros(len(series), bool)
    bits[found.to_numpy()] = True
    held = pl.Series(bits)
    return held if condition.sign == "=" else ~held
