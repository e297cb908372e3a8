"""Arguments and options that several commands share: the model, the interactions, the output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Model folder, as written by segue fit.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bars.")]
User = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column of user ids; by default found by its name."),
]
Item = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column of item ids; by default found by its name."),
]
Weight = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of ratings, counts or other weights.")
]
Time = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of timestamps.")]
MinWeight = Annotated[
    float | None,
    typer.Option(help="Drop interactions with a smaller weight, such as ratings below 4."),
]
Duplicates = Annotated[
    str, typer.Option(metavar="sum|last|max", help="How to merge rows of the same user and item.")
]
Query = Annotated[
    str | None, typer.Option(metavar="SQL", help="SELECT statement, if the source is a database URL.")
]
Items = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="CSV, Parquet or JSON file of item metadata (title, genres, …)."),
]
