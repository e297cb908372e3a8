"""Find the columns of user, item, weight and time: named by the caller, or by their usual names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segue.errors import DataError

# Most likely names first, in lower case and without spaces, hyphens and underscores.
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
REQUIRED = ("user", "item")
SHOWN = 20  # columns that a message lists


def normalize_name(name: str) -> str:
    """Return a column name in lower case, without underscores, spaces and hyphens."""
    return "".join(name.casefold().replace("_", "").replace("-", "").split())


def find_columns(columns: Sequence[str], named: Mapping[str, str | None], source: str) -> dict[str, str]:
    """Return the column of each role: user, item and, if there are any, weight and time.

    Args:
        columns: the columns of the table.
        named: the column that the caller gives for a role; None: look for its usual names among the others.
        source: the name of the table in messages.

    Raises:
        DataError: a column is missing, or two columns fit one role; the message lists the columns.
    """
    roles = {role: column for role, column in named.items() if column is not None}
    for role, column in roles.items():
        if column not in columns:
            raise DataError(
                f"{source} has no column {column!r} (requested by {role}=); {describe_columns(columns)}",
                arguments=(role,),
            )
    for role in ALIASES:
        free = [column for column in columns if column not in roles.values()]
        if role not in roles and (match := find_alias(free, role, source)) is not None:
            roles[role] = match
    for role in REQUIRED:
        if role not in roles:
            raise DataError(
                f"{source} has no column that looks like {role} ids; {describe_columns(columns)}; "
                f"name it with {role}=",
                arguments=(role,),
            )
    return {role: roles[role] for role in ALIASES if role in roles}


def find_alias(columns: Sequence[str], role: str, source: str) -> str | None:
    """Return the column with the most likely name for a role, or None.

    Raises:
        DataError: two columns have the same likely name.
    """
    for alias in ALIASES[role]:
        matches = [column for column in columns if normalize_name(column) == alias]
        if len(matches) > 1:
            both = " and ".join(map(repr, matches))
            raise DataError(
                f"the columns {both} of {source} both look like the {role}; name one with {role}=",
                arguments=(role,),
            )
        if matches:
            return matches[0]
    return None


def describe_columns(columns: Sequence[str]) -> str:
    """Return a phrase that lists the columns of a table."""
    more = f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
    return f"its columns are {', '.join(columns[:SHOWN])}{more}"
