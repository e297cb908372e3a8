"""Progress bars on stderr, or lines where stderr is not a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from segue.cli.terminal import errors
from segue.progress import NOTHING

INTERVAL = 30.0  # seconds between two lines about the same step


class ProgressBars:
    """A progress callback that draws one bar per step, with its rate and the remaining time.

    If stderr is not a terminal, each step prints one line when it ends, and a long step one line from time to
    time.
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
        self._tasks: dict[str, TaskID] = {}
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks:
            self._bars.stop()

    def __call__(self, step: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
        """Move the bar of a step; the first call for a step draws it."""
        if not self._shown:
            return
        details = "".join(f", {name} {value:.4g}" for name, value in values.items())
        if not self._console.is_terminal:
            self._print_line(step, done, total, details)
            return
        if step not in self._tasks:
            self._bars.start()
            self._tasks[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._tasks[step], completed=done, total=total, description=step + details)

    def _print_line(self, step: str, done: int, total: int, details: str) -> None:
        now = time.monotonic()
        if done >= total:
            self._console.print(f"{step}: {total:,} in {now - self._started:.1f} s{details}")
            self._started = self._printed = now
        elif now - self._printed >= INTERVAL:
            self._console.print(f"{step}: {done:,} of {total:,} after {now - self._started:.0f} s{details}")
            self._printed = now


class _Count(ProgressColumn):
    """The number of finished units and their total."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f}/{task.total or 0:,.0f}")


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(
            "" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s", style="dim"
        )
