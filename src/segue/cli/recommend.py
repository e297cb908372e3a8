"""segue recommend: items for users, or for someone new."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from segue.cli.answers import print_json, print_rows
from segue.cli.options import Allow, Depth, Exclude, IncludeSeen, Json, ModelArgument, OnUnknown
from segue.cli.titles import looked_up
from segue.cli.values import ids_of
from segue.errors import SettingError
from segue.recommender import load


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
    }
    if user is not None:
        found = trained.recommend(user, k, **chosen)
    else:
        had = ids_of(history or "")
        with looked_up(trained, had):
            found = trained.recommend_for(had, k, **chosen)
    if as_json:
        print_json({"model_version": trained.version, "items": found.to_dicts()})
    else:
        print_rows(found)
