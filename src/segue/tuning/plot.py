"""The plot of a study: what each trial was worth, and the best so far."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from segue.evaluation import figures
from segue.evaluation.figures import check_picture
from segue.tuning.measuring import RATINGS
from segue.tuning.search import Tuned


def draw(tuned: Tuned, file: str | Path) -> None:
    """Draw the trials in their order: complete ones as points, pruned ones' first looks as crosses.

    Raises `MissingExtraError` without matplotlib, `SettingError` for a file that cannot be drawn into.
    """
    check_picture(Path(file))
    figure = figures.figure(8, 4.5)
    panel = figure.subplots()
    trials = tuned.trials.sort("trial")
    for number, ((model,), rows) in enumerate(
        trials.drop_nulls("model").group_by("model", maintain_order=True)
    ):
        done, pruned = (rows.filter(pl.col("state") == state) for state in ("complete", "pruned"))
        panel.scatter(done["trial"], done["value"], s=24, color=f"C{number}", label=model)
        if len(pruned):
            panel.scatter(
                pruned["trial"], pruned["first_look"], s=24, marker="x", color=f"C{number}",
                label=f"{model}, given up after a quarter", alpha=0.6,
            )  # fmt: skip
    done = trials.filter(pl.col("state") == "complete")
    best = done["value"].cum_min() if tuned.metric in RATINGS else done["value"].cum_max()
    panel.step(done["trial"], best, where="post", color="black", linewidth=1, label="the best so far")
    if tuned.default is not None:
        told = f"default settings ({tuned.default_model})"
        panel.axhline(tuned.default, color="black", linewidth=1, linestyle="--", label=told)
    panel.set(xlabel="trial", ylabel=f"{tuned.metric} on the validation split")
    panel.grid(alpha=0.25)
    panel.legend(fontsize=8)
    figure.savefig(file, dpi=120)
