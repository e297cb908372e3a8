"""Events in a PostgreSQL database that the services of several hosts share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from segue.errors import MissingExtraError
from segue.serve.events.base import FORGET, Event, StoreCommand
from segue.serve.events.sql import Row, SqlReader
from segue.serve.problems import StoreError

try:
    import psycopg
except ImportError as error:
    raise MissingExtraError(
        "events in PostgreSQL need psycopg; install it with: pip install 'segue[postgres]'"
    ) from error

LOCK = 7_311_937_125  # advisory lock that serializes writers, so that ids become visible in order
TABLES = """
CREATE TABLE IF NOT EXISTS segue_events (
    id BIGSERIAL PRIMARY KEY, user_id TEXT NOT NULL, item_id TEXT NOT NULL, kind TEXT NOT NULL,
    weight DOUBLE PRECISION NOT NULL, time DOUBLE PRECISION NOT NULL, key TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS segue_events_key ON segue_events (user_id, key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS segue_events_user ON segue_events (user_id, id);
CREATE TABLE IF NOT EXISTS segue_items (
    id BIGSERIAL PRIMARY KEY, item_id TEXT NOT NULL UNIQUE, known TEXT NOT NULL
);
"""
INSERT = """
INSERT INTO segue_events (user_id, item_id, kind, weight, time, key)
SELECT user_id, item_id, kind, weight, time, key
FROM unnest(%s::text[], %s::text[], %s::text[], %s::float8[], %s::float8[], %s::text[]) WITH ORDINALITY
    AS rows (user_id, item_id, kind, weight, time, key, position)
ORDER BY position
ON CONFLICT DO NOTHING
"""
INSERT_ITEM = """
INSERT INTO segue_items (item_id, known) VALUES (%s, %s)
ON CONFLICT (item_id) DO UPDATE SET known = excluded.known, id = excluded.id
"""
Column = list[str] | list[float] | list[str | None]
Statement = tuple[str, tuple[str | Column, ...]]
Connection = psycopg.Connection[Row]
Result = TypeVar("Result")


class PostgresStore(SqlReader):
    """A connection to the database, reopened if it breaks; see `segue.serve.events.base.EventStore`."""

    events_table, items_table, placeholder = "segue_events", "segue_items", "%s"

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: Connection | None = None
        self._checked(self._create_tables)

    def write(self, commands: list[StoreCommand]) -> list[int]:
        """Store all commands in one transaction; return the number of new rows of each."""
        return self._checked(lambda: self._write(self._open(), commands))

    def changed(self) -> bool:
        """Return True: only a query can tell whether there are new events."""
        return True

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def rows(self, query: str, *parameters: str | int) -> list[Row]:
        """Return the rows of a query."""
        return self._checked(lambda: self._open().execute(query, parameters).fetchall())

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.url, autocommit=True, connect_timeout=10)
        return self._connection

    def _create_tables(self) -> None:
        connection = self._open()
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            connection.execute(TABLES)

    def _write(self, connection: Connection, commands: list[StoreCommand]) -> list[int]:
        with connection.pipeline(), connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            cursors = [
                [connection.execute(*statement) for statement in statements(command)] for command in commands
            ]
        return [sum(cursor.rowcount for cursor in group) for group in cursors]

    def _checked(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except psycopg.Error as error:
            kind = type(error).__name__  # the message may contain the password
            raise StoreError(
                f"PostgreSQL cannot be used ({kind}); check that it runs and accepts this user"
            ) from error


def statements(command: StoreCommand) -> list[Statement]:
    """Return the SQL statements of a command with their parameters; their row counts add up to its result."""
    result: list[Statement] = []
    if command.events:
        result.append((INSERT, _columns(command.events)))
    if command.forget is not None:
        marker = Event(command.forget, "", FORGET, 0.0, time.time())
        result.append(("DELETE FROM segue_events WHERE user_id = %s", (command.forget,)))
        result.append((INSERT, _columns((marker,))))
    if command.item is not None:
        result.append((INSERT_ITEM, command.item))
    return result


def _columns(events: tuple[Event, ...]) -> tuple[Column, ...]:
    names = ("user_id", "item_id", "kind", "weight", "time", "key")
    return tuple([getattr(event, name) for event in events] for name in names)
