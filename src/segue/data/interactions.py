"""Interactions: who had to do with what, how much and when, as one sparse matrix that was checked once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.ids import Id, IdMap, clean_ids
from segue.data.splits import split_mask
from segue.errors import DataError, SettingError

Duplicates = Literal["sum", "last", "max"]
DUPLICATES: tuple[str, ...] = ("sum", "last", "max")
log = logging.getLogger("segue")


@dataclass(frozen=True, eq=False)
class Interactions:
    """What users did with items.

    Attributes:
        matrix: users × items CSR of float32 weights, indices sorted, no zeros stored.
        users: the outside ids of the rows (`users.ids`).
        items: the outside ids of the columns (`items.ids`).
        times: (nnz,) float64 seconds since 1970, aligned with `matrix.data`; None where unknown.
        item_metadata: one row per item in row order (title, genres, year, …); None where unknown.
    """

    matrix: Any
    users: IdMap
    items: IdMap
    times: np.ndarray | None = None
    item_metadata: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        if self.matrix.shape != (len(self.users), len(self.items)):
            raise DataError(
                f"a matrix of shape {self.matrix.shape} (users × items) does not fit "
                f"{len(self.users):,} user ids and {len(self.items):,} item ids{_transposed(self)}"
            )
        if self.times is not None and len(self.times) != self.matrix.nnz:
            raise DataError(f"{len(self.times):,} times do not fit {self.matrix.nnz:,} interactions")
        if self.item_metadata is not None and self.item_metadata.height != len(self.items):
            raise DataError(
                f"{self.item_metadata.height:,} rows of item metadata do not fit {len(self.items):,} items"
            )

    def __len__(self) -> int:
        return int(self.matrix.nnz)

    def __repr__(self) -> str:
        users, items = self.matrix.shape
        return f"Interactions({users:,} users × {items:,} items, {len(self):,} interactions)"

    def split(
        self, test: float | None = None, by: str = "random", seed: int = 0
    ) -> tuple[Interactions, Interactions]:
        """Part the interactions into (train, test); both keep all ids, so rows mean the same in both.

        by="random": a share of all interactions (LightFM's split); by="time": everything after one
        moment; by="last": each user's last `test` interactions (default 1; below 1 a share);
        by="users": a share of the users with all they did (strong generalisation; split the test
        side again to get histories to fold in). The same seed gives the same split.
        """
        mask = split_mask(self.matrix, self.times, test, by, seed)
        return self.where(~mask), self.where(mask)

    def where(self, mask: np.ndarray) -> Interactions:
        """Keep only the stored interactions where `mask` (nnz,) is true; the ids stay."""
        kept = np.concatenate([[0], np.cumsum(mask)])
        matrix = sp.csr_matrix(
            (self.matrix.data[mask], self.matrix.indices[mask], kept[self.matrix.indptr]), self.matrix.shape
        )
        return replace(self, matrix=matrix, times=None if self.times is None else self.times[mask])

    def core(self, users: int, items: int) -> Interactions:
        """Drop users with fewer than `users` interactions and items with fewer than `items`, repeatedly."""
        if users < 0 or items < 0:
            raise SettingError(f"a core of {users} per user and {items} per item must not be negative")
        now = self.compact()
        while len(now):
            rows, columns = (
                np.diff(now.matrix.indptr),
                np.bincount(now.matrix.indices, minlength=len(now.items)),
            )
            good = np.repeat(rows >= users, rows) & (columns[now.matrix.indices] >= items)
            if good.all():
                return now
            now = now.where(good).compact()
        raise DataError(
            f"no interaction is left: none of {len(self):,} is in a core of at least {users} per user "
            f"and {items} per item; ask for less"
        )

    def compact(self) -> Interactions:
        """Drop the users and items without any interaction, and their ids."""
        rows = np.diff(self.matrix.indptr) > 0
        columns = np.bincount(self.matrix.indices, minlength=len(self.items)) > 0
        if rows.all() and columns.all():
            return self
        renumbered = np.cumsum(columns) - 1
        indptr = np.concatenate([[0], self.matrix.indptr[1:][rows]])
        shape = (int(rows.sum()), int(columns.sum()))
        return Interactions(
            sp.csr_matrix(
                (self.matrix.data, renumbered[self.matrix.indices].astype(np.int32), indptr), shape
            ),
            IdMap.trusted(self.users.series.filter(pl.Series(rows)), noun="user"),
            IdMap.trusted(self.items.series.filter(pl.Series(columns)), noun="item"),
            self.times,
            None if self.item_metadata is None else self.item_metadata.filter(pl.Series(columns)),
        )

    def with_metadata(self, table: pl.DataFrame, item: str) -> Interactions:
        """Attach a frame of what is known of items, their ids in the column `item`; null where unknown."""
        if item not in table.columns:
            raise DataError(
                f"no column {item!r} in the item metadata; its columns are {', '.join(table.columns)}"
            )
        if table.width == 1:
            raise DataError(f"the item metadata has no column but {item!r}: it says nothing about the items")
        rows = self.items.rows(clean_ids(table[item], "item"))
        known = np.flatnonzero(rows >= 0)
        counts = np.bincount(rows[known], minlength=len(self.items))
        if (counts > 1).any():
            twice = self.items[int(np.argmax(counts > 1))]
            raise DataError(f"the item {twice!r} has more than one row of metadata; keep one")
        places = np.full(len(self.items), -1, np.int64)
        places[rows[known]] = known
        order = pl.Series(places).replace(-1, None)
        return replace(self, item_metadata=table.drop(item).select(pl.all().gather(order)))


def from_csr(
    matrix: Any, *, users: Iterable[Id] | None = None, items: Iterable[Id] | None = None
) -> Interactions:
    """Take a users × items sparse matrix as it is; ids are 0..n-1 where none are given."""
    made = sp.csr_matrix(matrix, dtype=np.float32, copy=True)
    made.sum_duplicates()
    if not np.isfinite(made.data).all():
        place = int(np.flatnonzero(~np.isfinite(made.data))[0])
        row = int(np.searchsorted(made.indptr, place, side="right")) - 1
        raise DataError(
            f"the weight of row {row}, column {made.indices[place]} is {made.data[place]}; "
            "weights must be finite"
        )
    made.eliminate_zeros()
    if not made.nnz:
        raise DataError(f"the matrix of shape {made.shape} holds no interactions")
    log.info(
        "read a matrix of %s users (rows) × %s items (columns); pass matrix.T if the rows are items",
        *(f"{n:,}" for n in made.shape),
    )
    return Interactions(
        made,
        IdMap(range(made.shape[0]) if users is None else users, noun="user"),
        IdMap(range(made.shape[1]) if items is None else items, noun="item"),
    )


def from_frame(
    frame: pl.DataFrame, *, duplicates: str = "sum", min_weight: float | None = None
) -> Interactions:
    """Check a frame with the columns user, item and perhaps weight and time, and make the matrix of it.

    Rows below `min_weight` are left out first. Rows of the same user and item become one:
    their weights summed, the greatest kept, or the last kept (by time, else by row). Raises
    `DataError`, which names the row, for ids that are missing and weights that are no finite number.
    """
    if duplicates not in DUPLICATES:
        raise SettingError(
            f"duplicates={duplicates!r} is not known; there are {', '.join(map(repr, DUPLICATES))}"
        )
    if not frame.height:
        raise DataError("there are no interactions in it: 0 rows")
    columns = {"user": clean_ids(frame["user"], "user"), "item": clean_ids(frame["item"], "item")}
    if "weight" in frame.columns:
        columns["weight"] = clean_numbers(frame["weight"], "weight")
    if "time" in frame.columns:
        columns["time"] = clean_times(frame["time"])
    checked = _weigh(pl.DataFrame(columns), min_weight)
    users, items = (checked[side].unique().sort() for side in ("user", "item"))
    pairs = checked.select(
        (_codes(checked["user"], users) * items.len() + _codes(checked["item"], items)).alias("pair"),
        pl.col("weight") if "weight" in checked.columns else pl.lit(1.0, pl.Float32).alias("weight"),
        *([pl.col("time")] if "time" in checked.columns else []),
    )
    del checked, columns
    return _assemble(pairs, IdMap.trusted(users, noun="user"), IdMap.trusted(items, noun="item"), duplicates)


def clean_numbers(series: pl.Series, noun: str) -> pl.Series:
    """Return finite float32 numbers, or raise naming the first row that holds none."""
    texts = series.str.strip_chars() if series.dtype == pl.String else series
    numbers = texts.cast(pl.Float32, strict=False)
    bad = (numbers.is_null() | ~numbers.is_finite()).fill_null(value=True)
    if bad.any():
        row = bad.arg_true()[0]
        raise DataError(
            f"the {noun} in row {row + 1} is {series[row]!r}; every {noun} must be a finite number "
            f"({int(bad.sum()):,} of {series.len():,} rows are not)"
        )
    return numbers


def clean_times(series: pl.Series) -> pl.Series:
    """Return float64 seconds since 1970 from numbers (s, ms, us or ns by their size), dates or ISO text."""
    given = series
    if series.dtype == pl.String:
        series = series.str.strip_chars()
        numbers = series.cast(pl.Float64, strict=False)
        series = numbers if numbers.null_count() * 2 < numbers.len() else _dates(series)
    if series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
        seconds = series.cast(pl.Datetime("us")).to_physical().cast(pl.Float64) / 1e6
    elif series.dtype.is_numeric():
        seconds = series.cast(pl.Float64)
        largest = seconds.filter(seconds.is_finite()).abs().max()
        for bound, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
            if isinstance(largest, float) and largest >= bound:
                seconds = seconds / unit
                break
    else:
        raise DataError(f"times must be numbers, dates or ISO text, but these are {series.dtype}")
    bad = (seconds.is_null() | ~seconds.is_finite()).fill_null(value=True)
    if bad.any():
        row = bad.arg_true()[0]
        raise DataError(
            f"the time in row {row + 1} is {given[row]!r}, not a number, a date or ISO text; "
            "correct it or leave the column out"
        )
    return seconds


def _dates(texts: pl.Series) -> pl.Series:
    """Dates in UTC from text that begins with the year; null for other text: is 1/2/2020 in January?"""
    iso = texts.to_frame("text").select(pl.when(pl.col("text").str.contains(r"^\d{4}-\d{2}")).then("text"))
    try:
        return iso.to_series().str.to_datetime(strict=False, time_zone="UTC")
    except pl.exceptions.ComputeError:  # there is no format that the first of them has
        return pl.Series(texts.name, [None] * texts.len(), pl.Datetime("us"))


def _weigh(frame: pl.DataFrame, min_weight: float | None) -> pl.DataFrame:
    """Leave out what is below the least weight, and weights of zero, which say that nothing happened."""
    if "weight" not in frame.columns:
        if min_weight is not None:
            raise DataError(f"min_weight={min_weight} needs a weight column, and there is none; name it")
        return frame
    kept = frame.filter(pl.col("weight") != 0)
    if min_weight is not None:
        kept = kept.filter(pl.col("weight") >= min_weight)
    if not kept.height:
        wanted = "weight other than zero" if min_weight is None else f"weight of at least {min_weight}"
        weights = frame["weight"].to_numpy()
        raise DataError(
            f"no interaction is left: none of {frame.height:,} rows has a {wanted} "
            f"(the weights go from {weights.min()} to {weights.max()})"
        )
    return kept


def _codes(series: pl.Series, ids: pl.Series) -> pl.Series:
    table = pl.DataFrame({"id": ids}).with_row_index("row")
    found = series.alias("id").to_frame().join(table, on="id", how="left", maintain_order="left")["row"]
    return found.cast(pl.Int64)


def _assemble(pairs: pl.DataFrame, users: IdMap, items: IdMap, duplicates: str) -> Interactions:
    """Sort by pair (user · items + item), merge runs of the same one, and build the CSR from what is left."""
    timed = "time" in pairs.columns
    pairs = pairs.sort(["pair", "time"] if timed else ["pair"], maintain_order=True)
    cells, data = pairs["pair"].to_numpy(), pairs["weight"].to_numpy(writable=True)
    times = pairs["time"].to_numpy(writable=True) if timed else None
    first = np.concatenate([[True], cells[1:] != cells[:-1]])
    if not first.all():
        starts = np.flatnonzero(first)
        last = np.concatenate([starts[1:], [len(cells)]]) - 1
        if duplicates == "sum":
            data = _summed(data, starts)
        else:
            data = np.maximum.reduceat(data, starts) if duplicates == "max" else data[last]
        cells, times = cells[last], None if times is None else times[last]
        log.info("%s repeated rows became one each (%s)", f"{len(first) - len(starts):,}", duplicates)
    shape = (len(users), len(items))
    indptr = np.searchsorted(cells, np.arange(shape[0] + 1, dtype=np.int64) * shape[1])
    matrix = sp.csr_matrix((data, (cells % shape[1]).astype(np.int32), indptr), shape)
    made = Interactions(matrix, users, items, times)
    zero = matrix.data == 0  # weights of both signs may cancel out
    if zero.all():
        raise DataError("no interaction is left: the weights of every user and item add up to zero")
    return made.where(~zero).compact() if zero.any() else made


def _summed(weights: np.ndarray, starts: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        sums = np.add.reduceat(weights.astype(np.float64), starts).astype(np.float32)
    if not np.isfinite(sums).all():
        raise DataError("the weights of a repeated user and item add up to more than float32 can hold")
    return sums


def _transposed(made: Interactions) -> str:
    turned = made.matrix.shape == (len(made.items), len(made.users))
    return ": the rows are items here, so pass matrix.T" if turned else ""
