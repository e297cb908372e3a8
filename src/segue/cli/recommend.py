"""segue recommend: items for users, or for someone new."""

from __future__ import annotations

from typing import Annotated, Any

import polars as pl
import typer

from segue.cli.answers import print_json, print_rows
from segue.cli.options import Allow, Depth, Exclude, IncludeSeen, Json, ModelArgument, OnUnknown
from segue.cli.titles import looked_up
from segue.cli.values import ids_of
from segue.errors import SettingError
from segue.online.diversity import DIVERSIFIERS
from segue.online.exploration import EXPLORERS
from segue.recommender.facade import TrainedRecommender
from segue.recommender.fitting import load

REASONS = 3  # of each item


def recommend(
    model: ModelArgument,
    user: Annotated[
        list[str] | None, typer.Option("--user", "-u", metavar="ID", help="For whom; repeatable.")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            metavar="IDS",
            help="For someone new: the items they had, separated by commas, and in double quotes where "
            "an id has one itself.",
        ),
    ] = None,
    k: Depth = 10,
    exclude: Exclude = "",
    allow: Allow = None,
    include_seen: IncludeSeen = False,
    on_unknown: OnUnknown = "raise",
    explore: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Leave something to chance: {', '.join(EXPLORERS)}.")
    ] = None,
    diversity: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Items that are not all alike: {', '.join(DIVERSIFIERS)}."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the chance.")] = 0,
    why: Annotated[bool, typer.Option("--why", help="Say what earned each item its score.")] = False,
    as_json: Json = False,
) -> None:
    """Recommend items to users, or to someone new from a history.

    [dim]Example: segue recommend model --user 42 -k 5[/dim]
    """
    if (user is None) == (history is None):
        raise SettingError("say for whom: --user ID (repeatable), or --history ITEM,ITEM for someone new")
    trained = load(model)
    chosen: dict[str, Any] = {
        "exclude_seen": not include_seen,
        "exclude": ids_of(exclude),
        "allow": None if allow is None else ids_of(allow),
        "on_unknown": on_unknown,
        "explore": explore,
        "diversify": diversity,
        "seed": seed,
    }
    if user is not None:
        found = trained.recommend(user, k, **chosen)
    else:
        had = ids_of(history or "")
        with looked_up(trained, had):
            found = trained.recommend_for(had, k, **chosen)
    if why:
        found = with_reasons(trained, found, None if history is None else had)
    if as_json:
        chance = {} if explore is None else {"explore": explore, "seed": seed}
        print_json({"model_version": trained.version, **chance, "items": found.to_dicts()})
    else:
        print_rows(found)


def with_reasons(trained: TrainedRecommender, found: pl.DataFrame, history: list[str] | None) -> pl.DataFrame:
    """The rows with a column `because`: what earned each item the most, and how much of its score."""
    told: list[str] = []
    for row in found.iter_rows(named=True):
        known = history is not None or trained.users.find(str(row["user_id"])) >= 0
        told.append(_because(trained, row, history) if known else "it is popular")
    return found.with_columns(pl.Series("because", told, pl.String))


def _because(trained: TrainedRecommender, row: dict[str, Any], history: list[str] | None) -> str:
    whose: dict[str, Any] = {"user": row["user_id"]} if history is None else {"history": history}
    shares = trained.explain(row["item_id"], **whose, most=REASONS)
    parts = shares.filter(pl.col("reason").is_in(["pick", "feature"]) & (pl.col("share") > 0))
    told = ", ".join(
        f"{one.get('title') or one['value']} {one['share']:+.2f}" for one in parts.iter_rows(named=True)
    )
    picks = "pick" in parts["reason"]
    return f"you liked {told}" if picks else told
