"""segue update: new interactions, users and items into a model, without training anew."""

from __future__ import annotations

from typing import Annotated

import polars as pl
import typer

from segue.cli.answers import print_json
from segue.cli.options import Item, Json, MinWeight, ModelArgument, Query, Quiet, Time, User, Weight
from segue.cli.terminal import Bars, output
from segue.data.features import align_rows
from segue.data.ids import IdMap
from segue.data.sources import read_interactions, read_table
from segue.errors import SettingError
from segue.recommender.fitting import load


def update(
    model: ModelArgument,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The new interactions only, in any form fit takes.")
    ],
    user: User = None,
    item: Item = None,
    weight: Weight = None,
    time: Time = None,
    min_weight: MinWeight = None,
    duplicates: Annotated[
        str, typer.Option(metavar="sum|last", help="What becomes of pairs that were there before.")
    ] = "sum",
    query: Query = None,
    items: Annotated[
        str | None, typer.Option(metavar="FILE", help="CSV or Parquet with what is known of the items.")
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The same of users, where the model learned from it; ids first."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take new interactions into a model: a new version, which knows their users and items too.

    Vectors that nothing new is of stay as they are. Train anew from time to time, as tastes change.

    [dim]Example: segue update model today.csv --min-weight 4[/dim]
    """
    trained = load(model)
    if trained.user_encoding is not None and users is None:
        raise SettingError("the model learned from features of users: name their file with --users")
    if trained.item_encoding is not None and items is None:
        raise SettingError("the model learned from features of items: name their file with --items")
    new = read_interactions(
        source, user=user, item=item, weight=weight, time=time, min_weight=min_weight,
        duplicates=duplicates, query=query, items=items,
    )  # fmt: skip
    known = None if users is None else _known_of(users, new.users)
    with Bars(shown=not quiet) as bars:
        updated = trained.partial_fit(new, user_features=known, duplicates=duplicates, progress=bars)
    updated = updated.save(model)
    fresh = {
        "users": len(updated.users) - len(trained.users),
        "items": len(updated.items) - len(trained.items),
    }
    if as_json:
        told = {"model": str(model), "version": updated.version, "interactions": len(new)}
        sizes = {"users": len(updated.users), "items": len(updated.items)}
        print_json({**told, **{f"new_{side}": count for side, count in fresh.items()}, **sizes})
        return
    known_ones = len(new.users) - fresh["users"], len(new.items) - fresh["items"]
    output().print(
        f"Took in {len(new):,} interactions: {fresh['users']:,} new users and {fresh['items']:,} new items, "
        f"beside {known_ones[0]:,} and {known_ones[1]:,} known\nSaved version {updated.version} in {model}: "
        f"{len(updated.users):,} users × {len(updated.items):,} items"
    )


def _known_of(file: str, ids: IdMap) -> pl.DataFrame:
    """What a file knows of some users, in their order; its first column has their ids."""
    table = read_table(file)
    return align_rows(table, ids, table.columns[0])
