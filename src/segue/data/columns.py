"""Which column plays which part: named by the caller, or found by the names that columns usually have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segue.errors import DataError

# The likeliest first, written without capitals, spaces, hyphens and underscores.
ALIASES: dict[str, tuple[str, ...]] = {
    "user": (
        "userid", "user", "uid", "visitorid", "visitor", "customerid", "customer", "memberid", "member",
        "reviewerid", "reviewer", "accountid", "account", "profileid", "listenerid", "listener", "username",
    ),
    "item": (
        "itemid", "item", "iid", "movieid", "movie", "filmid", "productid", "product", "trackid", "track",
        "songid", "song", "bookid", "book", "asin", "parentasin", "isbn", "artistid", "artist", "articleid",
        "videoid", "gameid", "appid", "animeid", "recipeid", "businessid", "venueid", "newsid", "contentid",
        "sku",
    ),
    "weight": (
        "weight", "rating", "bookrating", "score", "count", "plays", "playcount", "listens", "stars",
        "overall", "quantity", "strength",
    ),
    "time": (
        "timestamp", "datetime", "time", "date", "createdat", "ts", "unixtime", "unixreviewtime", "eventtime",
        "ratedat", "reviewtime",
    ),
}  # fmt: skip
NEEDED = ("user", "item")
SHOWN = 20


def plain(name: str) -> str:
    """Return a column's name without capitals, underscores, spaces and hyphens."""
    return "".join(name.casefold().replace("_", "").replace("-", "").split())


def find_columns(columns: Sequence[str], named: Mapping[str, str | None], source: str) -> dict[str, str]:
    """Return {part: column} for user, item and, where there are any, weight and time.

    `named` holds what the caller said; every other part is looked for among the names that are left.
    Raises `DataError`, which lists the columns, for one that is not there or could be either of two.
    """
    found = {part: column for part, column in named.items() if column is not None}
    for part, column in found.items():
        if column not in columns:
            raise DataError(f"{source} has no column {column!r} (asked for as {part}=); {listed(columns)}")
    for part in ALIASES:
        left = [column for column in columns if column not in found.values()]
        if part not in found and (guess := alias_of(left, part, source)) is not None:
            found[part] = guess
    for part in NEEDED:
        if part not in found:
            raise DataError(
                f"{source} has no column that looks like {part} ids; {listed(columns)}; name it with {part}="
            )
    return {part: found[part] for part in ALIASES if part in found}


def alias_of(columns: Sequence[str], part: str, source: str) -> str | None:
    """Return the column whose name is the likeliest for a part, None where none is."""
    for alias in ALIASES[part]:
        fitting = [column for column in columns if plain(column) == alias]
        if len(fitting) > 1:
            both = " and ".join(map(repr, fitting))
            raise DataError(
                f"the columns {both} of {source} both look like the {part}; name one with {part}="
            )
        if fitting:
            return fitting[0]
    return None


def listed(columns: Sequence[str]) -> str:
    """Say which columns there are."""
    more = f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
    return f"its columns are {', '.join(columns[:SHOWN])}{more}"
