"""What the command line shows: progress on the error stream, tables on the output."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from types import TracebackType
from typing import Any

import polars as pl
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from segue.data.interactions import Interactions
from segue.evaluation.evaluate import Evaluation
from segue.progress import NOTHING
from segue.tuning.search import Tuned

EVERY = 30.0  # seconds between two lines about the same work
UNBROKEN = 10_000  # columns of what goes to a file or a pipe, where lines are for programs to break
SHOWN = 10  # trials of a study
HELD_OUT = {
    "time": "the latest tenth of the interactions",
    "last": "the latest tenth of each user's interactions",
    "random": "a random tenth of the interactions",
}
NAMES = {"user_id": "user", "item_id": "item", "neighbor_id": "neighbour"}


def output() -> Console:
    """Where answers go."""
    fitted = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if fitted else UNBROKEN, highlight=False, markup=False, emoji=False)


def errors() -> Console:
    """Where everything goes that is no answer."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


class Bars:
    """A progress callback that draws a bar for each kind of work, with its rate and the time left.

    Where the error stream is no terminal, each kind of work gets a line when it is done, and long work
    one now and then.
    """

    def __init__(self, *, shown: bool = True) -> None:
        self._shown = shown
        self._console = errors()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _Count(),
            _Rate(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(stderr=True, highlight=False),
        )
        self._tasks: dict[str, Any] = {}
        self._since = self._told = time.monotonic()

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks:
            self._bars.stop()

    def __call__(self, what: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
        """Move the bar of this work, which is drawn when it is first named."""
        if not self._shown:
            return
        told = "".join(f", {name} {value:.4g}" for name, value in values.items())
        if not self._console.is_terminal:
            self._note(what, done, total, told)
            return
        if what not in self._tasks:
            self._bars.start()
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total, description=what + told)

    def _note(self, what: str, done: int, total: int, told: str) -> None:
        now = time.monotonic()
        if done >= total:
            self._console.print(f"{what}: {total:,} in {now - self._since:.1f} s{told}")
            self._since = self._told = now
        elif now - self._told >= EVERY:
            self._console.print(f"{what}: {done:,} of {total:,} after {now - self._since:.0f} s{told}")
            self._told = now


class _Count(ProgressColumn):
    """How many steps are done, of how many."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f}/{task.total or 0:,.0f}")


class _Rate(ProgressColumn):
    """Steps a second so far."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(
            "" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s", style="dim"
        )


def rows_table(frame: pl.DataFrame, notes: Sequence[str] = ()) -> Table:
    """A frame of results as a table, a column each, numbers to the right; notes go under the last column."""
    made = Table(header_style="bold", box=None, pad_edge=False)
    for name, dtype in frame.schema.items():
        made.add_column(
            NAMES.get(name, name), justify="right" if dtype.is_numeric() else "left", overflow="fold"
        )
    for row, note in zip_longest(
        zip(*(_cells(column) for column in frame), strict=True), notes, fillvalue=""
    ):
        *cells, last = map(Text, row)
        made.add_row(*cells, Text.assemble(last, ("\n" + note, "dim")) if note else last)
    return made


def reasoned_table(frame: pl.DataFrame) -> Table:
    """The same for rows that say why in a column `because`, on a line of its own under the title or id."""
    last = "title" if "title" in frame.columns else "item_id"
    others = [name for name in frame.columns if name not in (last, "because")]
    return rows_table(
        frame.select(*others, last), ["because " + why if why else "" for why in frame["because"]]
    )


def evaluation_table(result: Evaluation) -> Table:
    """The metrics of a model beside those of the baselines, ± standard error; the best is bold."""
    made = Table(header_style="bold", box=None, pad_edge=False)
    made.add_column("metric")
    for name in result.rows:
        made.add_column(name, justify="right")
    for metric in result:
        best = max(row[metric] for row in result.rows.values())
        cells = []
        for row in result.rows.values():
            error = "" if math.isnan(row.errors[metric]) else f" ± {row.errors[metric]:.4f}"
            value = "–" if math.isnan(row[metric]) else f"{row[metric]:.4f}"
            cells.append(Text(f"{value}{error:9}", style="bold" if row[metric] == best else ""))
        made.add_row(metric, *cells)
    return made


def trials_table(tuned: Tuned) -> Table:
    """The best trials of a study: the settings that were tried, the metric, the seconds."""
    best = tuned.trials.head(SHOWN)
    rows = []
    for row in best.iter_rows(named=True):
        error = "" if row["error"] is None else f" ± {row['error']:.4f}"
        settings = json.loads(row["settings"])
        shown = {
            name: f"{value:.3g}" if isinstance(value, float) else value for name, value in settings.items()
        }
        rows.append(
            {
                "trial": row["trial"],
                "model": f"{row['model']} (default)" if row["default"] else row["model"],
                tuned.metric: row["state"] if row["value"] is None else f"{row['value']:.4f}{error}",
                "seconds": "" if row["seconds"] is None else f"{row['seconds']:.1f}",
                "settings": " ".join(f"{name}={value}" for name, value in shown.items()),
            }
        )
    return rows_table(pl.DataFrame(rows))


def verdict(tuned: Tuned) -> str:
    """How many trials there were, on what they were measured, and whether tuning beat the defaults."""
    counts = dict(tuned.trials.group_by("state", maintain_order=True).len().iter_rows())
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    lines = [
        f"{tuned.trials.height} trials ({told}), measured on {HELD_OUT[tuned.split]}; {tuned.users:,} users"
    ]
    if tuned.interrupted:
        lines.append("Interrupted: this is what was found until then")
    if tuned.default is None:
        lines.append("No default settings came to an end: there is nothing to compare with")
    elif tuned.improved:
        little = ", by less than the standard error" if abs(tuned.value - tuned.default) < tuned.error else ""
        lines.append(
            f"Tuning beat the default settings{little}: {tuned.metric} {tuned.value:.4f} ({tuned.model}) "
            f"against {tuned.default:.4f} ({tuned.default_model}); the best of many flatters a little"
        )
    else:
        lines.append(f"Nothing beat the default settings of {tuned.model}: {tuned.metric} {tuned.value:.4f}")
    return "\n".join(lines)


def summary(data: Interactions) -> str:
    """The size of a data set in a line."""
    users, items = data.matrix.shape
    percent = 100 * len(data) / (users * items)
    share = f"{percent:.2g}" if percent < 10 else f"{percent:.0f}"
    return f"{users:,} users × {items:,} items, {len(data):,} interactions ({share}% of all pairs)"


def _cells(column: pl.Series) -> list[str]:
    """The values of a column as text, numbers with as many decimals as the largest needs."""
    if column.dtype.is_float():
        known = column.drop_nulls().drop_nans()
        digits = 0
        if (known != known.round()).any():
            largest = known.filter(known.is_finite()).abs().max()
            digits = max(4, 3 - math.floor(math.log10(float(largest))))  # type: ignore[arg-type]
        return ["" if value is None else f"{value:.{digits}f}" for value in column]
    return [_cell(value) for value in column.to_list()]


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
