"""The trials of a study as a table, and the verdict on tuning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
from rich.table import Table

from segue.cli.tables import rows_table

if TYPE_CHECKING:
    from segue.tuning.search import Tuned

SHOWN = 10  # trials in the table
HELD_OUT = {
    "time": "the latest tenth of the interactions",
    "last": "the latest tenth of each user's interactions",
    "random": "a random tenth of the interactions",
}


def trials_table(tuned: Tuned) -> Table:
    """Return the best trials of a study: settings, metric, seconds."""
    rows = []
    for row in tuned.trials.head(SHOWN).iter_rows(named=True):
        error = "" if row["error"] is None else f" ± {row['error']:.4f}"
        settings = {
            name: f"{value:.3g}" if isinstance(value, float) else value
            for name, value in json.loads(row["settings"]).items()
        }
        rows.append(
            {
                "trial": row["trial"],
                "model": f"{row['model']} (default)" if row["default"] else row["model"],
                tuned.metric: row["state"] if row["value"] is None else f"{row['value']:.4f}{error}",
                "seconds": "" if row["seconds"] is None else f"{row['seconds']:.1f}",
                "settings": " ".join(f"{name}={value}" for name, value in settings.items()),
            }
        )
    return rows_table(pl.DataFrame(rows))


def verdict(tuned: Tuned) -> str:
    """Return the number of trials, the validation data, and whether tuning beat the defaults."""
    counts = dict(tuned.trials.group_by("state", maintain_order=True).len().iter_rows())
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    lines = [
        f"{tuned.trials.height} trials ({states}), measured on {HELD_OUT[tuned.split]}; {tuned.users:,} users"
    ]
    if tuned.interrupted:
        lines.append("Interrupted: these are the results so far")
    if tuned.default is None:
        lines.append("No trial with default settings is complete: there is nothing to compare with")
    elif tuned.improved:
        small = ", by less than the standard error" if abs(tuned.value - tuned.default) < tuned.error else ""
        lines.append(
            f"Tuning beat the default settings{small}: {tuned.metric} {tuned.value:.4f} ({tuned.model}) "
            f"against {tuned.default:.4f} ({tuned.default_model}); the best of many trials is slightly "
            "optimistic"
        )
    else:
        lines.append(f"Nothing beat the default settings of {tuned.model}: {tuned.metric} {tuned.value:.4f}")
    return "\n".join(lines)
