"""segue similar: the items nearest to items."""

from __future__ import annotations

from typing import Annotated

import polars as pl
import typer

from segue.cli.answers import print_json, print_rows
from segue.cli.options import Allow, Depth, Exclude, Json, ModelArgument
from segue.cli.terminal import output
from segue.cli.titles import looked_up
from segue.cli.values import ids_of
from segue.recommender.fitting import load


def similar(
    model: ModelArgument,
    item: Annotated[
        list[str], typer.Option("--item", "-i", metavar="ID", help="Similar to what; repeatable.")
    ],
    k: Depth = 10,
    exclude: Exclude = "",
    allow: Allow = None,
    as_json: Json = False,
) -> None:
    """Find the items nearest to an item.

    [dim]Example: segue similar model --item 296[/dim]
    """
    trained = load(model)
    asked = list(dict.fromkeys(item))
    with looked_up(trained, asked):
        found = trained.similar(
            asked, k, exclude=ids_of(exclude), allow=None if allow is None else ids_of(allow)
        )
    if as_json:
        print_json({"model_version": trained.version, "items": found.to_dicts()})
        return
    titles = trained.titles(trained.items.rows(asked))
    for place, one in enumerate(asked):
        called = "" if titles is None or titles[place] is None else f", {titles[place]}"
        output().print(*([""] if place else []), f"Similar to {one}{called}:", sep="\n")
        theirs = found.filter(pl.col("item_id").cast(pl.String) == one)
        print_rows(theirs.drop("item_id"))
