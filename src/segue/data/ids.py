"""The border between outside ids (strings or integers) and inside rows (0..n-1)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from segue.errors import DataError, UnknownIdError

Id = int | str
FEW = 16  # up to so many ids are looked up one by one, …
SHARE = 0.15  # … up to such a share of those that are there by one binary search each; more are joined


class IdMap:
    """A table of distinct ids: row -> id by position, id -> row by binary search.

    The ids are all integers or all strings. Asking with the other kind is understood where it is
    unambiguous: `"42"` finds the integer 42 and `42` finds the string "42".
    """

    def __init__(self, ids: pl.Series | np.ndarray | Iterable[Id], *, noun: str = "id") -> None:
        self.noun = noun
        self.series = clean_ids(ids if isinstance(ids, pl.Series) else pl.Series(values=_plain(ids)), noun)
        if self.series.len() and self.series.n_unique() != self.series.len():
            twice = self.series.filter(self.series.is_duplicated())[0]
            raise DataError(
                f"the {noun} {twice!r} stands for more than one row; every {noun} must be there once"
            )

    @classmethod
    def trusted(cls, series: pl.Series, *, noun: str) -> IdMap:
        """Wrap ids that are known to be clean and distinct (as they come from a checked model folder)."""
        made = object.__new__(cls)
        made.noun, made.series = noun, series
        return made

    @cached_property
    def ids(self) -> np.ndarray:
        """The outside ids in row order: (n,) int64, or object where they are strings."""
        return self.series.to_numpy()

    def __len__(self) -> int:
        return self.series.len()

    def __getitem__(self, row: int) -> Id:
        found: Id = self.series[int(row)]
        return found

    def __contains__(self, wanted: object) -> bool:
        return isinstance(wanted, (int, str, np.integer)) and self.find(wanted) >= 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and self.series.equals(other.series)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"IdMap({len(self):,} {self.noun}s)"

    def find(self, wanted: Any) -> int:
        """Return the row of one id, -1 where there is none."""
        key = self._as_key(wanted)
        if key is None:
            return -1
        if self._order is None:
            place = bisect_left(self.series, key)
            return place if place < len(self) and self.series[place] == key else -1
        order = self._order
        place = bisect_left(order, key, key=lambda row: self.series[int(row)])
        return int(order[place]) if place < len(self) and self.series[int(order[place])] == key else -1

    def rows(self, wanted: Any) -> np.ndarray:
        """Return the rows (q,) int32 of many ids, -1 for each that is unknown."""
        if isinstance(wanted, (str, int, np.integer)):
            wanted = [wanted]
        if not hasattr(wanted, "__len__"):
            wanted = list(wanted)
        if len(wanted) <= FEW:
            return np.array([self.find(one) for one in wanted], np.int32)
        series = wanted if isinstance(wanted, pl.Series) else pl.Series(values=_plain(wanted))
        series = self._as_kind(series)
        if len(series) <= SHARE * len(self):
            return self._searched(series)
        asked = pl.DataFrame({"id": series})
        known = pl.DataFrame({"id": self.series}).with_row_index("row")
        joined = asked.join(known, on="id", how="left", maintain_order="left")["row"]
        return joined.cast(pl.Int32).fill_null(-1).to_numpy()

    def _searched(self, series: pl.Series) -> np.ndarray:
        """The rows of ids of the kind that is there, -1 for each that is unknown, by binary search."""
        places = np.minimum(self._sorted.search_sorted(series).to_numpy(), len(self) - 1)
        there = (self._sorted.gather(places) == series).fill_null(False).to_numpy()
        rows = places if self._order is None else self._order[places]
        return np.where(there, rows, -1).astype(np.int32)

    def require(self, wanted: Any) -> np.ndarray:
        """Return the rows of many ids, or raise an error that names the first few unknown ones."""
        if isinstance(wanted, (str, int, np.integer)):
            wanted = [wanted]
        if not isinstance(wanted, (pl.Series, np.ndarray)):
            wanted = list(wanted)
        rows = self.rows(wanted)
        missing = [wanted[int(place)] for place in np.flatnonzero(rows < 0)[:3]]
        if missing:
            missing = [one.item() if isinstance(one, np.generic) else one for one in missing]
            many = int((rows < 0).sum())
            named = ", ".join(repr(one) for one in missing) + (f" and {many - 3} more" if many > 3 else "")
            sample = ", ".join(repr(one) for one in self.series.head(3))
            raise UnknownIdError(
                f"unknown {self.noun}: {named}. The model knows {len(self):,} {self.noun}s, such as {sample}"
            )
        return rows

    def grown(self, wanted: pl.Series) -> IdMap:
        """Return a table with the ids that are not there yet behind those that are; rows keep their places.

        Raises `DataError` for ids that are no integers where the known ones are.
        """
        fresh = clean_ids(wanted, self.noun).filter(pl.Series(self.rows(wanted) < 0, dtype=pl.Boolean))
        added = fresh.cast(self.series.dtype, strict=False).alias(self.series.name)
        if added.null_count():
            wrong = fresh[int(np.argmax(added.is_null()))]
            raise DataError(f"the model's {self.noun}s have integer ids, but {wrong!r} came")
        return IdMap(pl.concat([self.series, added]), noun=self.noun)

    @cached_property
    def _order(self) -> np.ndarray | None:
        """The rows in the order of their ids; None where they stand so already."""
        return None if self.series.is_sorted() else self.series.arg_sort().to_numpy()

    @cached_property
    def _sorted(self) -> pl.Series:
        return self.series if self._order is None else self.series.gather(self._order)

    def _as_key(self, wanted: Any) -> Id | None:
        if self.series.dtype == pl.String:
            return str(wanted)
        try:
            key = int(wanted)
        except (TypeError, ValueError):
            return None
        return key if str(key) == str(wanted) else None

    def _as_kind(self, series: pl.Series) -> pl.Series:
        if series.dtype == self.series.dtype:
            return series
        if self.series.dtype == pl.String:
            return series.cast(pl.String)
        if series.dtype.is_integer():
            return series.cast(pl.Int64, strict=False)
        texts = series.cast(pl.String, strict=False)
        numbers = texts.cast(pl.Int64, strict=False)
        return pl.select(pl.when(numbers.cast(pl.String) == texts).then(numbers)).to_series()


def clean_ids(series: pl.Series, noun: str) -> pl.Series:
    """Return ids as Int64 or String without nulls, or raise naming the row that is wrong."""
    if series.null_count():
        row = series.is_null().arg_true()[0] + 1
        raise DataError(
            f"{series.null_count():,} of {series.len():,} {noun} ids are missing (null), "
            f"the first in row {row}; drop these rows or fill them in"
        )
    if series.dtype.is_integer():
        narrow = series.cast(pl.Int64, strict=False)  # null where 64 bits are not enough
        return series.cast(pl.String) if narrow.null_count() else narrow
    if series.dtype.is_float():
        return _whole(series, noun)
    if series.dtype == pl.String:
        return series
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        return series.cast(pl.String)
    if series.dtype == pl.Object:
        return pl.Series(series.name, [str(one) for one in series], pl.String)
    if series.dtype == pl.Null and not series.len():
        return series.cast(pl.Int64)
    raise DataError(
        f"{noun} ids must be strings or integers, but these are {series.dtype}; cast the column first"
    )


def _whole(series: pl.Series, noun: str) -> pl.Series:
    """Integers that a frame keeps as floats (pandas does so when values were once missing)."""
    bad = ~(series.is_finite() & (series == series.floor()))
    if bad.any():
        row = bad.arg_true()[0]
        raise DataError(f"{noun} ids must be strings or integers, but row {row + 1} holds {series[row]}")
    return series.cast(pl.Int64)


def _plain(ids: Any) -> Any:
    """What polars takes as it is: arrays of one kind, or a list, of strings where the kinds are mixed."""
    if isinstance(ids, np.ndarray) and ids.dtype != object:
        return ids.astype(str).astype(object) if ids.dtype.kind in "UT" else ids
    values = [one.item() if isinstance(one, np.generic) else one for one in ids]
    kinds = {type(one) for one in values} - {type(None)}
    return [one if one is None else str(one) for one in values] if len(kinds) > 1 else values
