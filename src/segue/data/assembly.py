"""Build interactions from a frame of rows: check columns, merge duplicates, sort into a CSR."""

from __future__ import annotations

import logging

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue.data.cleaning import clean_numbers, clean_times
from segue.data.ids import IdMap, clean_ids
from segue.data.interactions import Interactions
from segue.errors import DataError, SettingError

DUPLICATES = ("sum", "last", "max")
log = logging.getLogger("segue")


def from_frame(
    frame: pl.DataFrame, *, duplicates: str = "sum", min_weight: float | None = None
) -> Interactions:
    """Return the interactions of a frame.

    Args:
        frame: the columns `user`, `item` and, optionally, `weight` and `time`.
        duplicates: what to do with rows of the same user and item: "sum" their weights, keep the "max", or
            keep the "last" (by time, else by row).
        min_weight: drop rows with a lower weight first; None: keep all.

    Raises:
        DataError: an id is missing, a weight is not a finite number (the message names the row), or no
            interactions remain.
        SettingError: an unknown `duplicates`.
    """
    if duplicates not in DUPLICATES:
        raise SettingError(
            f"duplicates={duplicates!r} must be one of {', '.join(map(repr, DUPLICATES))}",
            arguments=("duplicates",),
        )
    if not frame.height:
        raise DataError("there are no interactions in it (0 rows)")
    columns = {"user": clean_ids(frame["user"], "user"), "item": clean_ids(frame["item"], "item")}
    if "weight" in frame.columns:
        columns["weight"] = clean_numbers(frame["weight"], "weight")
    if "time" in frame.columns:
        columns["time"] = clean_times(frame["time"])
    checked = _select_weights(pl.DataFrame(columns), min_weight)
    users, items = (checked[side].unique().sort() for side in ("user", "item"))
    pairs = checked.select(
        (_rows_of(checked["user"], users) * items.len() + _rows_of(checked["item"], items)).alias("pair"),
        pl.col("weight") if "weight" in checked.columns else pl.lit(1.0, pl.Float32).alias("weight"),
        *([pl.col("time")] if "time" in checked.columns else []),
    )
    del checked, columns
    return _assemble(pairs, IdMap.trusted(users, noun="user"), IdMap.trusted(items, noun="item"), duplicates)


def _select_weights(frame: pl.DataFrame, min_weight: float | None) -> pl.DataFrame:
    """Drop rows below the minimum weight and rows of weight zero, which are no interactions."""
    if "weight" not in frame.columns:
        if min_weight is not None:
            raise DataError(
                f"min_weight={min_weight} needs a weight column, and there is none; name it with weight=",
                arguments=("min_weight", "weight"),
            )
        return frame
    rows = frame.filter(pl.col("weight") != 0)
    if min_weight is not None:
        rows = rows.filter(pl.col("weight") >= min_weight)
    if not rows.height:
        required = "weight other than zero" if min_weight is None else f"weight of at least {min_weight}"
        weights = frame["weight"].to_numpy()
        raise DataError(
            f"no interaction is left: none of {frame.height:,} rows has a {required} "
            f"(the weights go from {weights.min()} to {weights.max()})",
            arguments=() if min_weight is None else ("min_weight",),
        )
    return rows


def _rows_of(series: pl.Series, ids: pl.Series) -> pl.Series:
    table = pl.DataFrame({"id": ids}).with_row_index("row")
    rows = series.alias("id").to_frame().join(table, on="id", how="left", maintain_order="left")["row"]
    return rows.cast(pl.Int64)


def _assemble(pairs: pl.DataFrame, users: IdMap, items: IdMap, duplicates: str) -> Interactions:
    """Sort pairs (user · items + item), merge duplicates and build the CSR."""
    timed = "time" in pairs.columns
    pairs = pairs.sort(["pair", "time"] if timed else ["pair"], maintain_order=True)
    cells, weights = pairs["pair"].to_numpy(), pairs["weight"].to_numpy(writable=True)
    times = pairs["time"].to_numpy(writable=True) if timed else None
    first = np.concatenate([[True], cells[1:] != cells[:-1]])
    if not first.all():
        starts = np.flatnonzero(first)
        last = np.concatenate([starts[1:], [len(cells)]]) - 1
        if duplicates == "sum":
            weights = _sum_runs(weights, starts)
        else:
            weights = np.maximum.reduceat(weights, starts) if duplicates == "max" else weights[last]
        cells, times = cells[last], None if times is None else times[last]
        log.info("merged %s repeated rows (%s)", f"{len(first) - len(starts):,}", duplicates)
    shape = (len(users), len(items))
    indptr = np.searchsorted(cells, np.arange(shape[0] + 1, dtype=np.int64) * shape[1])
    matrix = sp.csr_matrix((weights, (cells % shape[1]).astype(np.int32), indptr), shape)
    data = Interactions(matrix, users, items, times)
    zero = matrix.data == 0  # weights of opposite signs may cancel
    if zero.all():
        raise DataError("no interaction is left: the weights of every user and item add up to zero")
    return data.where(~zero).compact() if zero.any() else data


def _sum_runs(weights: np.ndarray, starts: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        sums = np.add.reduceat(weights.astype(np.float64), starts).astype(np.float32)
    if not np.isfinite(sums).all():
        raise DataError("the weights of a repeated user and item exceed float32 when summed")
    return sums
