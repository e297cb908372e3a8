"""What the command line shows: progress bars on the error stream, tables on the output."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from segue.data.interactions import Interactions
from segue.evaluation import Evaluation

PLAIN_WIDTH = 120  # of tables that go to a file or a pipe
NAMES = {"user_id": "user", "item_id": "item", "neighbor_id": "neighbour"}


def output() -> Console:
    """Where answers go."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def errors() -> Console:
    """Where everything goes that is no answer."""
    return Console(stderr=True, highlight=False)


class Bars:
    """A progress callback that draws a bar for each kind of work, with its rate and the time left."""

    def __init__(self, *, shown: bool = True) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=errors(),
            disable=not shown,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Move the bar of this work, which is drawn when it is first named."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)


class _Rate(ProgressColumn):
    """Steps a second so far."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(
            "" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s", style="dim"
        )


def rows_table(frame: pl.DataFrame, title: str | None = None) -> Table:
    """A frame of results as a table, a column each, numbers to the right."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name, dtype in frame.schema.items():
        made.add_column(
            NAMES.get(name, name), justify="right" if dtype.is_numeric() else "left", overflow="fold"
        )
    for row in frame.iter_rows():
        made.add_row(*(Text(_cell(value)) for value in row))
    return made


def evaluation_table(result: Evaluation, title: str) -> Table:
    """The metrics of a model beside those of the baselines, ± standard error; the best is bold."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    made.add_column("metric")
    for name in result.rows:
        made.add_column(name, justify="right")
    for metric in result:
        best = max(row[metric] for row in result.rows.values())
        cells = []
        for row in result.rows.values():
            error = "" if row.errors[metric] != row.errors[metric] else f" ± {row.errors[metric]:.4f}"
            style = "bold" if row[metric] == best else ""
            cells.append(Text(f"{row[metric]:.4f}{error:9}", style=style))
        made.add_row(metric, *cells)
    return made


def summary(data: Interactions) -> str:
    """The size of a data set in a line."""
    users, items = data.matrix.shape
    density = 100 * len(data) / (users * items)
    return f"{users:,} users × {items:,} items, {len(data):,} interactions ({density:.2g}% of all pairs)"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
