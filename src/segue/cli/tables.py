"""Tables for the terminal: frames, reasons, evaluations, the size of a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import polars as pl
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from segue.data.interactions import Interactions
    from segue.evaluation.evaluate import Evaluation

NAMES = {"user_id": "user", "item_id": "item", "neighbor_id": "neighbor"}


def rows_table(frame: pl.DataFrame, notes: Sequence[str] = ()) -> Table:
    """Return a frame as a table; numbers are right-aligned, notes go below the cells of the last column."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name, dtype in frame.schema.items():
        table.add_column(
            NAMES.get(name, name), justify="right" if dtype.is_numeric() else "left", overflow="fold"
        )
    for row, note in zip_longest(
        zip(*(_cells(column) for column in frame), strict=True), notes, fillvalue=""
    ):
        *cells, last = map(Text, row)
        table.add_row(*cells, Text.assemble(last, ("\n" + note, "dim")) if note else last)
    return table


def reasons_table(frame: pl.DataFrame) -> Table:
    """Return a frame with a text column `because` as a table with the reason below the title or id."""
    last = "title" if "title" in frame.columns else "item_id"
    others = [name for name in frame.columns if name not in (last, "because")]
    return rows_table(
        frame.select(*others, last),
        ["because " + reason if reason else "" for reason in frame["because"]],
    )


def evaluation_table(result: Evaluation) -> Table:
    """Return the metrics of a model and its baselines with standard errors; the best value is bold."""
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("metric")
    for name in result.rows:
        table.add_column(name, justify="right")
    for metric in result:
        best = max(row[metric] for row in result.rows.values())
        cells = []
        for row in result.rows.values():
            error = "" if math.isnan(row.errors[metric]) else f" ± {row.errors[metric]:.4f}"
            value = "–" if math.isnan(row[metric]) else f"{row[metric]:.4f}"
            cells.append(Text(f"{value}{error:9}", style="bold" if row[metric] == best else ""))
        table.add_row(metric, *cells)
    return table


def summary(data: Interactions) -> str:
    """Return the size of a data set in one line."""
    users, items = data.matrix.shape
    percent = 100 * len(data) / (users * items)
    share = f"{percent:.2g}" if percent < 10 else f"{percent:.0f}"
    return f"{users:,} users × {items:,} items, {len(data):,} interactions ({share}% of all pairs)"


def _cells(column: pl.Series) -> list[str]:
    """Return the values of a column as text; all numbers get the decimals that the largest needs."""
    if column.dtype.is_float():
        known = column.drop_nulls().drop_nans()
        digits = 0
        if (known != known.round()).any():
            largest = known.filter(known.is_finite()).abs().max()
            digits = max(4, 3 - math.floor(math.log10(float(largest))))  # type: ignore[arg-type]
        return ["" if value is None else f"{value:.{digits}f}" for value in column]
    return [_cell(value) for value in column.to_list()]


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
