"""The arguments and options that commands share, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model folder, as segue fit writes it.")
]
Depth = Annotated[int, typer.Option("-k", help="How many for each.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
Exclude = Annotated[str, typer.Option(metavar="IDS", help="Items that nobody gets, separated by commas.")]
Allow = Annotated[
    str | None, typer.Option(metavar="IDS", help="The only items that may be given, separated by commas.")
]
IncludeSeen = Annotated[bool, typer.Option("--include-seen", help="Also what the user had in training.")]
OnUnknown = Annotated[
    str,
    typer.Option(
        metavar="raise|skip|popular", help="What unknown users get: an error, nothing, what is popular."
    ),
]
User = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The users' column; else found by its name.")
]
Item = Annotated[str | None, typer.Option(metavar="COLUMN", help="The items' column.")]
Weight = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="The column of ratings, counts or other weights.")
]
Time = Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of times.")]
MinWeight = Annotated[float | None, typer.Option(help="Leave out what weighs less, such as ratings below 4.")]
Duplicates = Annotated[str, typer.Option(metavar="sum|last|max", help="What becomes of repeated pairs.")]
Query = Annotated[
    str | None, typer.Option(metavar="SQL", help="The SELECT, where the source is a database URL.")
]
