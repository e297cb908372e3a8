"""The options of a list, spelled as in Python, HTTP and Spark; see `segue.recommender.options`."""

from __future__ import annotations

from typing import Annotated, TypedDict

import typer

from segue.cli.values import parse_ids
from segue.online.diversity import DIVERSIFIERS
from segue.online.exploration import EXPLORERS
from segue.recommender.options import ListArguments

K = Annotated[int, typer.Option("-k", help="Number of items in each list.")]
Exclude = Annotated[
    str, typer.Option(metavar="IDS", help="Items to exclude for all users, separated by commas.")
]
Allow = Annotated[
    str | None,
    typer.Option(metavar="IDS", help="The only items that lists may contain, separated by commas."),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=VALUE",
        help="Only items whose metadata match, such as genres=Drama or year>=1990; repeatable.",
    ),
]
IncludeSeen = Annotated[
    bool, typer.Option("--include-seen", help="Also list items that the user already interacted with.")
]
Explore = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:NUMBER]",
        help=f"Add random exploration, such as gumbel:0.5; one of {', '.join(EXPLORERS)}.",
    ),
]
Diversify = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:NUMBER]",
        help=f"Make the items of a list differ, such as mmr:0.3; one of {', '.join(DIVERSIFIERS)}.",
    ),
]
Seed = Annotated[int, typer.Option(help="Random seed for --explore.")]
Explain = Annotated[bool, typer.Option("--explain", help="Show the reasons for each item.")]
OnUnknown = Annotated[
    str,
    typer.Option(
        metavar="raise|skip|popular",
        help="Unknown ids: raise an error, skip them, or give unknown users popular items.",
    ),
]


class FilterArguments(TypedDict):
    """The list arguments that choose items."""

    exclude: list[str]
    allow: list[str] | None
    where: tuple[str, ...]


def filter_arguments(exclude: str, allow: str | None, where: list[str] | None) -> FilterArguments:
    """Return the list arguments of --exclude, --allow and --where."""
    return {
        "exclude": parse_ids(exclude),
        "allow": None if allow is None else parse_ids(allow),
        "where": tuple(where or ()),
    }


def list_arguments(
    filters: FilterArguments,
    *,
    include_seen: bool,
    explore: str | None,
    diversify: str | None,
    seed: int,
    explain: bool,
) -> ListArguments:
    """Return all list arguments, those of `filter_arguments` included."""
    return {
        **filters,
        "exclude_seen": not include_seen,
        "explore": explore,
        "diversify": diversify,
        "seed": seed,
        "explain": explain,
    }
