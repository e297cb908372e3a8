"""Events in PostgreSQL, which services of many hosts share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from segue.errors import MissingExtraError
from segue.serve.events.base import FORGET, HISTORY, Event, NewItem, StoreCommand, StoredEvent
from segue.serve.problems import StoreError

try:
    import psycopg
except ImportError as error:
    raise MissingExtraError(
        "events in PostgreSQL need psycopg; install it with: pip install 'segue[postgres]'"
    ) from error

LOCK = 7_311_937_125  # of one writer at a time, so that ids become visible in their order
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
COLUMNS = "id, user_id, item_id, kind, weight, time"
INSERT = """
INSERT INTO segue_events (user_id, item_id, kind, weight, time, key)
SELECT user_id, item_id, kind, weight, time, key
FROM unnest(%s::text[], %s::text[], %s::text[], %s::float8[], %s::float8[], %s::text[]) WITH ORDINALITY
    AS given (user_id, item_id, kind, weight, time, key, place)
ORDER BY place
ON CONFLICT DO NOTHING
"""
ITEM = """
INSERT INTO segue_items (item_id, known) VALUES (%s, %s)
ON CONFLICT (item_id) DO UPDATE SET known = excluded.known, id = excluded.id
"""
Found = TypeVar("Found")


class PostgresStore:
    """A connection to the database; see `segue.serve.events.Store`. It connects again where it broke."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: Any = None
        self._explained(lambda: self._prepare(self._open()))

    def write(self, writes: list[StoreCommand]) -> list[int]:
        """Keep all in one transaction."""
        return self._explained(lambda: self._write(self._open(), writes))

    def after(self, last: int, most: int) -> list[StoredEvent]:
        """Return the events after an id."""
        query = f"SELECT {COLUMNS} FROM segue_events WHERE id > %s ORDER BY id LIMIT %s"  # noqa: S608
        return [StoredEvent(*row) for row in self._rows(query, last, most)]

    def last(self) -> int:
        """Return the id of the last event."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM segue_events")[0][0])

    def of_user(self, user_id: str) -> list[StoredEvent]:
        """Return the latest events of a person."""
        query = f"SELECT {COLUMNS} FROM segue_events WHERE user_id = %s ORDER BY id DESC LIMIT %s"  # noqa: S608
        return [StoredEvent(*row) for row in reversed(self._rows(query, user_id, HISTORY))]

    def users(self) -> set[str]:
        """Return everybody who has events."""
        return {row[0] for row in self._rows("SELECT DISTINCT user_id FROM segue_events")}

    def items(self, last: int) -> list[NewItem]:
        """Return the items added after a number."""
        query = "SELECT id, item_id, known FROM segue_items WHERE id > %s ORDER BY id"
        return [NewItem(*row) for row in self._rows(query, last)]

    def changed(self) -> bool:
        """There may always be something new: to look is to ask the server."""
        return True

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> Any:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.url, autocommit=True, connect_timeout=10)
        return self._connection

    def _prepare(self, connection: Any) -> None:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            connection.execute(TABLES)

    def _write(self, connection: Any, writes: list[StoreCommand]) -> list[int]:
        with connection.pipeline(), connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            made = [[connection.execute(*one) for one in statements(write)] for write in writes]
        return [sum(cursor.rowcount for cursor in cursors) for cursors in made]

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._explained(lambda: self._open().execute(query, values).fetchall())

    def _explained(self, work: Callable[[], Found]) -> Found:
        try:
            return work()
        except psycopg.Error as error:
            kind = type(error).__name__  # its text may hold the password
            raise StoreError(
                f"PostgreSQL cannot be used ({kind}); see that it runs and lets this user in"
            ) from error


def statements(write: StoreCommand) -> list[tuple[str, tuple[Any, ...]]]:
    """The statements that keep a write; their counts of rows add up to what was new."""
    made: list[tuple[str, tuple[Any, ...]]] = []
    if write.events:
        made.append((INSERT, _columns(write.events)))
    if write.forget is not None:
        made.append(("DELETE FROM segue_events WHERE user_id = %s", (write.forget,)))
        made.append((INSERT, _columns((Event(write.forget, "", FORGET, 0.0, time.time()),))))
    if write.item is not None:
        made.append((ITEM, write.item))
    return made


def _columns(events: tuple[Event, ...]) -> tuple[list[Any], ...]:
    names = ("user_id", "item_id", "kind", "weight", "time", "key")
    return tuple([getattr(one, name) for one in events] for name in names)
