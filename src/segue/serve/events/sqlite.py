"""Events in a SQLite file, which processes of one host share: write-ahead log, flushed at every commit."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from segue.serve.events.base import FORGET, HISTORY, NewItem, StoreCommand, StoredEvent
from segue.serve.problems import StoreError

FORMAT = 1
PATIENCE = 10.0  # seconds that a commit waits for another process
TABLES = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL, item_id TEXT NOT NULL, kind TEXT NOT NULL,
    weight REAL NOT NULL, time REAL NOT NULL, key TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS events_key ON events (user_id, key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_user ON events (user_id, id);
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT NOT NULL UNIQUE, known TEXT NOT NULL
);
"""
COLUMNS = "id, user_id, item_id, kind, weight, time"
INSERT = (
    "INSERT INTO events (user_id, item_id, kind, weight, time, key) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
Found = TypeVar("Found")


class SqliteStore:
    """A connection to the file; see `segue.serve.events.Store`."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._seen = -1
        self._connection = self._explained(self._open)

    def write(self, writes: list[StoreCommand]) -> list[int]:
        """Keep all in one transaction."""
        return self._explained(lambda: self._write(writes))

    def after(self, last: int, most: int) -> list[StoredEvent]:
        """Return the events after an id."""
        query = f"SELECT {COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 - constants
        return [StoredEvent(*row) for row in self._rows(query, last, most)]

    def last(self) -> int:
        """Return the id of the last event."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM events")[0][0])

    def of_user(self, user_id: str) -> list[StoredEvent]:
        """Return the latest events of a person."""
        query = f"SELECT {COLUMNS} FROM events WHERE user_id = ? ORDER BY id DESC LIMIT ?"  # noqa: S608
        return [StoredEvent(*row) for row in reversed(self._rows(query, user_id, HISTORY))]

    def users(self) -> set[str]:
        """Return everybody who has events."""
        return {row[0] for row in self._rows("SELECT DISTINCT user_id FROM events")}

    def items(self, last: int) -> list[NewItem]:
        """Return the items added after a number."""
        return [
            NewItem(*row)
            for row in self._rows("SELECT id, item_id, known FROM items WHERE id > ? ORDER BY id", last)
        ]

    def changed(self) -> bool:
        """Tell whether another connection has written: SQLite counts that."""
        seen = self._rows("PRAGMA data_version")[0][0]
        changed, self._seen = seen != self._seen, seen
        return bool(changed)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        # The service hands a store from the thread that opens it to the one that uses it.
        connection = sqlite3.connect(
            self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, FORMAT):
            raise StoreError(
                f"{self.path} has the format {found}, which this release does not know; upgrade segue"
            )
        if found == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT")
        return connection

    def _write(self, writes: list[StoreCommand]) -> list[int]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            counts = [self._one(connection, write) for write in writes]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return counts

    def _one(self, connection: sqlite3.Connection, write: StoreCommand) -> int:
        count = 0
        for one in write.events:
            row = (one.user_id, one.item_id, one.kind, one.weight, one.time, one.key)
            count += connection.execute(INSERT, row).rowcount
        if write.forget is not None:
            count += connection.execute("DELETE FROM events WHERE user_id = ?", (write.forget,)).rowcount
            gone = (write.forget, "", FORGET, 0.0, time.time(), None)
            count += connection.execute(INSERT, gone).rowcount
        if write.item is not None:
            connection.execute("INSERT OR REPLACE INTO items (item_id, known) VALUES (?, ?)", write.item)
            count += 1
        return count

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._explained(lambda: self._connection.execute(query, values).fetchall())

    def _explained(self, work: Callable[[], Found]) -> Found:
        try:
            return work()
        except sqlite3.Error as error:
            raise StoreError(
                f"the events in {self.path} cannot be used: {error}; see that there is room, that the file "
                "may be written, and that nothing else holds it"
            ) from error
