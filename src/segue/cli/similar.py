"""segue similar: the nearest items of items."""

from __future__ import annotations

from typing import Annotated

import polars as pl
import typer

from segue.cli.answers import print_json, print_rows
from segue.cli.history import suggest_titles
from segue.cli.list_options import Allow, Exclude, K, Where, filter_arguments
from segue.cli.options import Json, ModelArgument
from segue.cli.terminal import output
from segue.recommender.fitting import load


def similar(
    model: ModelArgument,
    item: Annotated[list[str], typer.Option("--item", "-i", metavar="ID", help="Item id; repeatable.")],
    k: K = 10,
    exclude: Exclude = "",
    allow: Allow = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Find the items nearest to an item.

    [dim]Example: segue similar model --item 296[/dim]
    """
    filters = filter_arguments(exclude, allow, where)
    trained = load(model)
    items = list(dict.fromkeys(item))
    with suggest_titles(trained, items):
        rows = trained.similar(items, k, **filters)
    if as_json:
        print_json({"model_version": trained.version, "items": rows.to_dicts()})
        return
    titles = trained.titles(trained.items.rows(items))
    for place, one_item in enumerate(items):
        title = "" if titles is None or titles[place] is None else f", {titles[place]}"
        output().print(*([""] if place else []), f"Similar to {one_item}{title}:", sep="\n")
        neighbors = rows.filter(pl.col("item_id").cast(pl.String) == one_item)
        print_rows(neighbors.drop("item_id"))
