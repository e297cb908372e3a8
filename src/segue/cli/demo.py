"""segue demo: the whole path on one data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segue.cli.options import Quiet
from segue.cli.terminal import output
from segue.cli.walkthrough import load_demo_data, run_demo


def demo(
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder with MovieLens files; by default downloaded."),
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Use simulated data; download nothing.")
    ] = False,
    model: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Model folder to write.")
    ] = Path("segue-demo"),
    seed: Annotated[int, typer.Option(help="Random seed of the simulated data.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Show the whole path on one data set: data, training, evaluation, recommendations.

    The data are MovieLens small, downloaded once, or simulated if the download fails.

    [dim]Example: segue demo --data ~/ml-latest-small[/dim]
    """
    interactions, description = load_demo_data(data, simulated=simulated, seed=seed)
    run_demo(interactions, description, model, output(), progress=not quiet)
