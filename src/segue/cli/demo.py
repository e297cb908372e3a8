"""segue demo: the whole path on one data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segue.cli.options import Quiet
from segue.cli.terminal import output


def demo(
    data: Annotated[Path | None, typer.Option(help="A folder with MovieLens files to use instead.")] = None,
    simulated: Annotated[bool, typer.Option(help="Use the simulated catalogue; download nothing.")] = False,
    model: Annotated[Path, typer.Option("--output", "-o", help="Where the model is kept.")] = Path(
        "segue-demo"
    ),
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Show the whole path on one data set: data, training, evaluation, recommendations.

    Takes MovieLens small, downloaded once, or a simulated catalogue where that fails.

    [dim]Example: segue demo --data ~/ml-latest-small[/dim]
    """
    from segue.cli.walkthrough import demo_data, run_demo  # what only the demo needs

    found, what = demo_data(data, simulated=simulated, seed=seed)
    run_demo(found, what, model, output(), progress=not quiet)
