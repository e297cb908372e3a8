"""The progress display of `fit(verbose=True)`, on stderr as in LightFM."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from segue.progress import Progress, silent


@contextmanager
def epoch_progress(verbose: bool, epochs: int) -> Iterator[Progress]:
    """Yield a progress callback: a bar on a terminal, a line at the end elsewhere, nothing if not verbose."""
    if not verbose:
        yield silent
        return
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        begin = time.monotonic()
        yield silent
        console.print(f"training: {epochs:,} in {time.monotonic() - begin:.1f} s")
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )  # fmt: skip
    with Bars(*columns, console=console) as bars:
        task = bars.add_task("training", total=epochs)
        yield lambda what, done, total, values=None: bars.update(task, completed=done)
