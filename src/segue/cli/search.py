"""segue search: items by text."""

from __future__ import annotations

from typing import Annotated

import typer

from segue.cli.answers import print_json, print_rows
from segue.cli.list_options import Allow, Exclude, K, Where, filter_arguments
from segue.cli.options import Json, ModelArgument
from segue.recommender.fitting import load


def search(
    model: ModelArgument,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words to search for, such as 'die hard'.")],
    k: K = 10,
    by: Annotated[
        str,
        typer.Option(metavar="words|meaning|both", help="Search by words (BM25), by meaning, or by both."),
    ] = "both",
    user: Annotated[
        str | None,
        typer.Option("--user", "-u", metavar="ID", help="Rerank the results by the taste of this user."),
    ] = None,
    bend: Annotated[
        float, typer.Option(help="Weight of the taste of --user: 0 is none, 1 is taste alone.")
    ] = 0.3,
    exclude: Exclude = "",
    allow: Allow = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Find items by text.

    A model that was fit with --text is searched by words and by meaning, other models by title.

    [dim]Example: segue search model "heat of the night" --user 1[/dim]
    """
    filters = filter_arguments(exclude, allow, where)
    trained = load(model)
    rows = trained.search(query, k, by=by, user=user, bend=bend, **filters)
    if as_json:
        print_json({"model_version": trained.version, "query": query, "items": rows.to_dicts()})
    else:
        print_rows(rows)
