"""segue update: new interactions, users and items for a model, without a full training."""

from __future__ import annotations

from typing import Annotated

import polars as pl
import typer

from segue.cli.answers import print_json
from segue.cli.options import Item, Items, Json, MinWeight, ModelArgument, Query, Quiet, Time, User, Weight
from segue.cli.progress import ProgressBars
from segue.cli.terminal import output
from segue.data.features import align_rows
from segue.data.ids import IdMap
from segue.data.sources import read_interactions, read_table
from segue.errors import SettingError
from segue.recommender.fitting import load


def update(
    model: ModelArgument,
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="The new interactions only, in any form that fit accepts."),
    ],
    user: User = None,
    item: Item = None,
    weight: Weight = None,
    time: Time = None,
    min_weight: MinWeight = None,
    duplicates: Annotated[
        str, typer.Option(metavar="sum|last", help="How to merge with existing interactions of a pair.")
    ] = "sum",
    query: Query = None,
    items: Items = None,
    users: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="CSV or Parquet file of user features, ids in the first column, if the model uses them.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add new interactions, users and items to a model, without a full training.

    The result is a new version in the model folder. Vectors without new interactions are unchanged. Train
    again with segue fit from time to time, as tastes change.

    [dim]Example: segue update model today.csv --min-weight 4[/dim]
    """
    trained = load(model)
    if trained.user_encoding is not None and users is None:
        raise SettingError("the model learned from user features: name their file with --users")
    if trained.item_encoding is not None and items is None:
        raise SettingError("the model learned from item features: name their file with --items")
    new = read_interactions(
        source, user=user, item=item, weight=weight, time=time, min_weight=min_weight,
        duplicates=duplicates, query=query, items=items,
    )  # fmt: skip
    features = None if users is None else _read_features(users, new.users)
    with ProgressBars(shown=not quiet) as bars:
        updated = trained.partial_fit(new, user_features=features, duplicates=duplicates, progress=bars)
    updated = updated.save(model)
    new_users, new_items = len(updated.users) - len(trained.users), len(updated.items) - len(trained.items)
    if as_json:
        print_json(
            {
                "model": str(model), "version": updated.version, "interactions": len(new),
                "new_users": new_users, "new_items": new_items,
                "users": len(updated.users), "items": len(updated.items),
            }
        )  # fmt: skip
        return
    output().print(
        f"Added {len(new):,} interactions: {new_users:,} new and {len(new.users) - new_users:,} known users, "
        f"{new_items:,} new and {len(new.items) - new_items:,} known items\n"
        f"Saved version {updated.version} in {model}: {len(updated.users):,} users × "
        f"{len(updated.items):,} items"
    )


def _read_features(file: str, ids: IdMap) -> pl.DataFrame:
    """Return the rows of a file for ids, in their order; its first column has their ids."""
    table = read_table(file)
    return align_rows(table, ids, table.columns[0])
