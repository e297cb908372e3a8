"""Read the rows of a query from SQLite or PostgreSQL, in batches."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import polars as pl

from segue.data.tables import Table
from segue.errors import DataError, MissingExtraError, SettingError

BATCH = 50_000  # rows held as Python objects at a time
CONNECT_SECONDS = "10"
EXAMPLE = "query='SELECT user_id, item_id FROM interactions'"


class Cursor(Protocol):
    """The part of a database cursor (PEP 249) that reading needs."""

    @property
    def description(self) -> Sequence[Sequence[object]] | None:
        """The columns of the result, with their names first; None if the statement returns no rows."""

    def fetchmany(self, size: int) -> list[tuple[object, ...]]:
        """Return the next rows, or an empty list at the end."""


@contextmanager
def open_query(url: str, query: str | None) -> Iterator[Table]:
    """Run a read-only query, and open its rows as a table while the connection lasts.

    Raises:
        DataError: the database cannot be reached, or the query fails or returns no rows. No message contains
            the password of the URL.
        SettingError: there is no query.
    """
    scheme = url.partition("://")[0]
    if scheme not in DATABASES:
        known = ", ".join(f"{name}://" for name in DATABASES)
        raise DataError(f"{scheme}:// is not supported; use {known}, or the path of a file")
    if not query or not query.strip():
        raise SettingError(f"a database ({scheme}://) needs query=, such as {EXAMPLE}", arguments=("query",))
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
            yield _open_cursor(name, connection.execute(query))
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
    ambiguous = any("@" in str(parts.get(part, "")) for part in ("host", "port", "dbname"))
    if (
        ambiguous or not parts
    ):  # raise it here, so that the message of the driver, which quotes the URL, is not chained to it
        raise DataError(
            "the PostgreSQL URL cannot be understood; it is postgresql://user:password@host:port/database, "
            "with special characters in the password encoded, such as %40"
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
        raise DataError(_without_password(f"{where} cannot be reached: {refused}", parts, url))
    with connection:
        try:
            connection.read_only = True
            with connection.cursor(
                "segue"
            ) as cursor:  # a named cursor fetches rows from the server as needed
                cursor.execute(query.encode())
                yield _open_cursor(f"the query on {where}", cursor)
        except psycopg.Error as error:
            raise DataError(f"the query on {where} failed: {_first_line(error)}") from error


DATABASES: dict[str, Callable[[str, str], AbstractContextManager[Table]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "postgres": _postgresql,
}


def _open_cursor(name: str, cursor: Cursor) -> Table:
    if cursor.description is None:
        raise DataError(f"{name} returns no columns; it must be a SELECT")
    columns = [str(column[0]) for column in cursor.description]

    def read(names: Sequence[str], ids: Collection[str]) -> pl.DataFrame:
        positions = [columns.index(column) for column in names]
        batches = []
        while rows := cursor.fetchmany(BATCH):
            batches.append(
                pl.DataFrame(
                    [
                        _series(column, [row[position] for row in rows])
                        for column, position in zip(names, positions, strict=True)
                    ]
                )
            )
        if not batches:
            raise DataError(f"{name} returned no rows")
        return pl.concat(batches, how="vertical_relaxed")

    return Table(name, columns, read)


def _series(name: str, values: list[object]) -> pl.Series:
    if any(isinstance(value, Decimal) for value in values):
        values = [_number(value) if isinstance(value, Decimal) else value for value in values]
    series = pl.Series(name, values, strict=False)
    if series.dtype != pl.Object:
        return series
    return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)


def _number(value: Decimal) -> int | float:
    return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _without_password(message: str, parts: Mapping[str, object], url: str) -> str:
    """Return the message without the password, decoded or as the URL has it."""
    encoded = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    for secret in {parts.get("password"), parts.get("sslpassword"), encoded} - {None, ""}:
        message = message.replace(str(secret), "***")
    return message
