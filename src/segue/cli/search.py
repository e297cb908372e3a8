"""segue search: items by their text."""

from __future__ import annotations

from typing import Annotated

import typer

from segue.cli.answers import print_json, print_rows
from segue.cli.options import Allow, Depth, Exclude, Json, ModelArgument
from segue.cli.values import ids_of
from segue.recommender.fitting import load


def search(
    model: ModelArgument,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Some words, such as 'die hard'.")],
    k: Depth = 10,
    by: Annotated[
        str, typer.Option(metavar="words|meaning|both", help="Search by words, by meaning, or both.")
    ] = "both",
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="ID", help="Bend the order to this user's taste.")
    ] = None,
    bend: Annotated[float, typer.Option(help="How far: 0 is not at all, 1 is by taste alone.")] = 0.3,
    exclude: Exclude = "",
    allow: Allow = None,
    as_json: Json = False,
) -> None:
    """Find items by their text, in a model that was fit with --text.

    [dim]Example: segue search model "heat of the night" --user 1[/dim]
    """
    trained = load(model)
    found = trained.search(
        query, k, by=by, user=user, bend=bend,
        exclude=ids_of(exclude), allow=None if allow is None else ids_of(allow),
    )  # fmt: skip
    if as_json:
        print_json({"model_version": trained.version, "query": query, "items": found.to_dicts()})
        return
    print_rows(found)
