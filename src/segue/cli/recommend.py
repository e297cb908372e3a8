"""segue recommend: lists of items for users."""

from __future__ import annotations

from typing import Annotated

import typer

from segue.cli.answers import print_json, print_rows
from segue.cli.history import parse_history, suggest_titles
from segue.cli.list_options import (
    Allow,
    Diversify,
    Exclude,
    Explain,
    Explore,
    IncludeSeen,
    K,
    OnUnknown,
    Seed,
    Where,
    filter_arguments,
    list_arguments,
)
from segue.cli.options import Json, ModelArgument
from segue.errors import SettingError
from segue.recommender.fitting import load


def recommend(
    model: ModelArgument,
    user: Annotated[
        list[str] | None, typer.Option("--user", "-u", metavar="ID", help="User id; repeatable.")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            metavar="IDS",
            help="Items of a new user, separated by commas; with ratings as ID=RATING; ids that contain "
            "commas in double quotes.",
        ),
    ] = None,
    k: K = 10,
    exclude: Exclude = "",
    allow: Allow = None,
    where: Where = None,
    include_seen: IncludeSeen = False,
    on_unknown: OnUnknown = "raise",
    explore: Explore = None,
    diversify: Diversify = None,
    seed: Seed = 0,
    explain: Explain = False,
    as_json: Json = False,
) -> None:
    """Recommend items to users, or to a new user with a history.

    [dim]Example: segue recommend model --user 42 -k 5[/dim]
    """
    if (user is None) == (history is None):
        raise SettingError("give either --user ID (repeatable) or, for a new user, --history ITEM,ITEM")
    arguments = list_arguments(
        filter_arguments(exclude, allow, where),
        include_seen=include_seen, explore=explore, diversify=diversify, seed=seed, explain=explain,
    )  # fmt: skip
    trained = load(model)
    if user is not None:
        rows = trained.recommend(user, k, on_unknown=on_unknown, **arguments)
    else:
        items = parse_history(history or "", trained.items)
        with suggest_titles(trained, items):
            rows = trained.recommend_for(items, k, on_unknown=on_unknown, **arguments)
    if as_json:
        exploration = {} if explore is None else {"explore": explore, "seed": seed}
        print_json({"model_version": trained.version, **exploration, "items": rows.to_dicts()})
    else:
        print_rows(rows)
