"""Databases: the rows of a query, fetched in batches from SQLite or PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from segue.data.tables import Table
from segue.errors import DataError, MissingExtraError, SettingError

BATCH = 50_000  # rows held as Python objects at a time
CONNECT_SECONDS = "10"
EXAMPLE = "query='SELECT user_id, item_id FROM interactions'"


@contextmanager
def open_query(url: str, query: str | None) -> Iterator[Table]:
    """Run a query that reads, and open its rows as a table while the connection lasts.

    Raises `DataError` for a database that cannot be reached and a query that fails or finds
    nothing; no message holds the password of the URL.
    """
    scheme = url.partition("://")[0]
    if scheme not in DATABASES:
        known = ", ".join(f"{name}://" for name in DATABASES)
        raise DataError(f"{scheme}:// is not read; there are {known}, or the path of a file")
    if not query or not query.strip():
        raise SettingError(f"a database ({scheme}://) needs query=, such as {EXAMPLE}")
    with DATABASES[scheme](url, query) as table:
        yield table


@contextmanager
def _sqlite(url: str, query: str) -> Iterator[Table]:
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or not path.name:
        raise DataError("a SQLite URL is sqlite:///file.db, or sqlite:////full/path/file.db")
    if not path.is_file():
        raise DataError(f"there is no SQLite file {path}")
    name = f"the query on {path.name}"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            yield _table(name, connection.execute(query))
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise DataError(f"{name} failed: {error}") from error


@contextmanager
def _postgresql(url: str, query: str) -> Iterator[Table]:
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:
        raise MissingExtraError(
            'reading from PostgreSQL needs psycopg, which is not installed: pip install "segue[postgres]"'
        ) from error
    try:
        parts = {"connect_timeout": CONNECT_SECONDS, **conninfo_to_dict(url)}
    except psycopg.Error:
        parts = {}
    misread = any("@" in str(parts.get(part, "")) for part in ("host", "port", "dbname"))
    if (
        misread or not parts
    ):  # raised out here, so that the driver's message, which quotes the URL, is not chained to it
        raise DataError(
            "the PostgreSQL URL cannot be understood; it is postgresql://user:password@host:port/database, "
            "special characters in the password written as %40 and the like"
        )
    where = (
        f"PostgreSQL ({parts.get('dbname', 'the default database')} on {parts.get('host', 'this machine')})"
    )
    connection, refused = None, ""
    try:
        connection = psycopg.connect(**parts)  # type: ignore[arg-type]
    except (psycopg.Error, UnicodeError) as error:
        refused = _first_line(error)
    if connection is None:
        raise DataError(_hidden(f"{where} cannot be reached: {refused}", parts, url))
    with connection:
        try:
            connection.read_only = True
            with connection.cursor("segue") as cursor:  # a named cursor stays on the server
                cursor.execute(query.encode())
                yield _table(f"the query on {where}", cursor)
        except psycopg.Error as error:
            raise DataError(f"the query on {where} failed: {_first_line(error)}") from error


DATABASES: dict[str, Callable[[str, str], AbstractContextManager[Table]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "postgres": _postgresql,
}


def _table(name: str, cursor: Any) -> Table:
    if cursor.description is None:
        raise DataError(f"{name} returns no columns; it must be a SELECT")
    columns = [column[0] for column in cursor.description]

    def read(names: Sequence[str], ids: Collection[str]) -> pl.DataFrame:
        places = [columns.index(one) for one in names]
        batches = []
        while rows := cursor.fetchmany(BATCH):
            batches.append(
                pl.DataFrame(
                    [_series(one, [row[at] for row in rows]) for one, at in zip(names, places, strict=True)]
                )
            )
        if not batches:
            raise DataError(f"{name} found no rows")
        return pl.concat(batches, how="vertical_relaxed")

    return Table(name, columns, read)


def _series(name: str, values: list[Any]) -> pl.Series:
    if any(isinstance(value, Decimal) for value in values):
        values = [_number(value) if isinstance(value, Decimal) else value for value in values]
    made = pl.Series(name, values, strict=False)
    if made.dtype != pl.Object:
        return made
    return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)


def _number(value: Decimal) -> int | float:
    return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _hidden(message: str, parts: dict[str, Any], url: str) -> str:
    """The message without the password, as it was read or as it stands in the URL."""
    written = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    for secret in {parts.get("password"), parts.get("sslpassword"), written} - {None, ""}:
        message = message.replace(str(secret), "***")
    return message
