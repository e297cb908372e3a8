"""Translate between external ids (strings or integers) and internal rows (0..n-1)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence, Sized
from functools import cached_property
from typing import TypeAlias

import numpy as np
import polars as pl

from segue.errors import DataError, UnknownIdError

Id: TypeAlias = int | str
Ids: TypeAlias = "Id | np.integer | Iterable[Id] | np.ndarray | pl.Series"
FEW = 16  # at most this many ids are looked up one by one
SHARE = 0.15  # at most this share of all ids are looked up by binary search; more are joined


class IdMap:
    """An immutable two-way map between distinct external ids and rows 0..n-1.

    All ids are integers or all are strings, and come back unchanged. A lookup accepts the other type if it is
    unambiguous: `"42"` finds the integer 42, and `42` finds the string "42".

    - `ids[row]` returns the id of a row, `len(ids)` the number of ids, `id in ids` whether it is known.
    - `find(id)` returns one row, `rows(ids)` many rows; both return -1 for unknown ids.
    - `require(ids)` returns many rows, and raises `UnknownIdError` for unknown ids.
    - `ids.ids` is a numpy array of all ids in row order, `ids.series` a polars series.

    Args:
        ids: the ids in row order.
        noun: the word for one of them in messages, such as `user`.

    Raises:
        DataError: an id is missing, repeated, or neither a string nor an integer.
    """

    def __init__(self, ids: pl.Series | np.ndarray | Iterable[Id], *, noun: str = "id") -> None:
        self.noun = noun
        self.series = clean_ids(ids if isinstance(ids, pl.Series) else pl.Series(values=_uniform(ids)), noun)
        if self.series.len() and self.series.n_unique() != self.series.len():
            repeated = self.series.filter(self.series.is_duplicated())[0]
            raise DataError(f"the {noun} {repeated!r} occurs more than once; every {noun} must be unique")

    @classmethod
    def trusted(cls, series: pl.Series, *, noun: str) -> IdMap:
        """Wrap ids without checking them; they must be clean and distinct, as in a model folder."""
        ids = object.__new__(cls)
        ids.noun, ids.series = noun, series
        return ids

    @cached_property
    def ids(self) -> np.ndarray:
        """The external ids in row order: (n,) int64, or object for strings."""
        return self.series.to_numpy()

    def __len__(self) -> int:
        return self.series.len()

    def __getitem__(self, row: int) -> Id:
        external: Id = self.series[int(row)]
        return external

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (int, str, np.integer)) and self.find(key) >= 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and self.series.equals(other.series)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"IdMap({len(self):,} {self.noun}s)"

    def find(self, id: Id | np.integer) -> int:  # noqa: A002
        """Return the row of one id, or -1 if it is unknown."""
        key = self._as_key(id)
        if key is None:
            return -1
        if self._order is None:
            position = bisect_left(self.series, key)
            return position if position < len(self) and self.series[position] == key else -1
        order = self._order
        position = bisect_left(order, key, key=lambda row: self.series[int(row)])
        if position == len(self) or self.series[int(order[position])] != key:
            return -1
        return int(order[position])

    def rows(self, ids: Ids) -> np.ndarray:
        """Return the rows (q,) int32 of many ids, -1 for unknown ids."""
        if isinstance(ids, (str, int, np.integer)):
            ids = [_as_python(ids)]
        if not isinstance(ids, Sized):
            ids = list(ids)
        if len(ids) <= FEW:
            return np.array([self.find(key) for key in ids], np.int32)
        series = self._as_dtype(ids if isinstance(ids, pl.Series) else pl.Series(values=_uniform(ids)))
        if len(series) <= SHARE * len(self):
            return self._search(series)
        queries = pl.DataFrame({"id": series})
        known = pl.DataFrame({"id": self.series}).with_row_index("row")
        joined = queries.join(known, on="id", how="left", maintain_order="left")["row"]
        return joined.cast(pl.Int32).fill_null(-1).to_numpy()

    def _search(self, series: pl.Series) -> np.ndarray:
        """Return the rows of ids of the same type by binary search, -1 for unknown ids."""
        positions = np.minimum(self._sorted.search_sorted(series).to_numpy(), len(self) - 1)
        known = (self._sorted.gather(positions) == series).fill_null(False).to_numpy()
        rows = positions if self._order is None else self._order[positions]
        return np.where(known, rows, -1).astype(np.int32)

    def require(self, ids: Ids) -> np.ndarray:
        """Return the rows (q,) int32 of many ids.

        Raises:
            UnknownIdError: an id is unknown; the message names the first few.
        """
        if isinstance(ids, (str, int, np.integer)):
            ids = [_as_python(ids)]
        if not isinstance(ids, (pl.Series, np.ndarray)):
            ids = list(ids)
        rows = self.rows(ids)
        missing = [_as_python(ids[int(position)]) for position in np.flatnonzero(rows < 0)[:3]]
        if missing:
            count = int((rows < 0).sum())
            names = ", ".join(map(repr, missing)) + (f" and {count - 3} more" if count > 3 else "")
            sample = ", ".join(map(repr, self.series.head(3)))
            raise UnknownIdError(
                f"unknown {self.noun}: {names}. The model knows {len(self):,} {self.noun}s, such as {sample}"
            )
        return rows

    def grown(self, ids: pl.Series) -> IdMap:
        """Return a map with unknown ids appended; known ids keep their rows.

        Raises:
            DataError: a new id is not an integer, but the known ids are.
        """
        unknown = clean_ids(ids, self.noun).filter(pl.Series(self.rows(ids) < 0, dtype=pl.Boolean))
        added = unknown.cast(self.series.dtype, strict=False).alias(self.series.name)
        if added.null_count():
            wrong = unknown[int(np.argmax(added.is_null()))]
            raise DataError(f"the {self.noun} ids of the model are integers, but {wrong!r} is not")
        return IdMap(pl.concat([self.series, added]), noun=self.noun)

    @cached_property
    def _order(self) -> np.ndarray | None:
        """The rows in the order of their ids; None if the ids are sorted."""
        return None if self.series.is_sorted() else self.series.arg_sort().to_numpy()

    @cached_property
    def _sorted(self) -> pl.Series:
        return self.series if self._order is None else self.series.gather(self._order)

    def _as_key(self, id: Id | np.integer) -> Id | None:  # noqa: A002
        if self.series.dtype == pl.String:
            return str(id)
        try:
            key = int(id)
        except (TypeError, ValueError):
            return None
        return key if str(key) == str(id) else None

    def _as_dtype(self, series: pl.Series) -> pl.Series:
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
    """Return ids as Int64 or String.

    Raises:
        DataError: an id is missing, or neither a string nor an integer; the message names the row.
    """
    if series.null_count():
        row = series.is_null().arg_true()[0] + 1
        raise DataError(
            f"{series.null_count():,} of {series.len():,} {noun} ids are missing (null), "
            f"the first in row {row}; drop these rows or fill them in"
        )
    if series.dtype.is_integer():
        narrow = series.cast(pl.Int64, strict=False)  # null if an id exceeds 64 bits
        return series.cast(pl.String) if narrow.null_count() else narrow
    if series.dtype.is_float():
        return _floats_as_integers(series, noun)
    if series.dtype == pl.String:
        return series
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        return series.cast(pl.String)
    if series.dtype == pl.Object:
        return pl.Series(series.name, [str(value) for value in series], pl.String)
    if series.dtype == pl.Null and not series.len():
        return series.cast(pl.Int64)
    raise DataError(
        f"{noun} ids must be strings or integers, but these are {series.dtype}; cast the column first"
    )


def _floats_as_integers(series: pl.Series, noun: str) -> pl.Series:
    """Return integers that a frame stores as floats, as pandas does if values were missing."""
    bad = ~(series.is_finite() & (series == series.floor()))
    if bad.any():
        row = bad.arg_true()[0]
        raise DataError(f"{noun} ids must be strings or integers, but row {row + 1} holds {series[row]}")
    return series.cast(pl.Int64)


def _uniform(ids: Iterable[Id] | np.ndarray) -> np.ndarray | Sequence[Id | None]:
    """Return ids of one type for polars: an array, or a list that holds strings if the types were mixed."""
    if isinstance(ids, np.ndarray) and ids.dtype != object:
        return ids.astype(str).astype(object) if ids.dtype.kind in "UT" else ids
    values = [_as_python(value) for value in ids]
    types = {type(value) for value in values} - {type(None)}
    return [value if value is None else str(value) for value in values] if len(types) > 1 else values


def _as_python(value: Id | np.generic) -> Id:
    """Return a numpy scalar as a Python value."""
    plain: Id = value.item() if isinstance(value, np.generic) else value
    return plain
