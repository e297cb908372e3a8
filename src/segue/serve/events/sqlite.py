"""Events in a SQLite file that the processes of one host share: write-ahead log, flushed at every commit."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from segue.serve.events.base import FORGET, StoreCommand
from segue.serve.events.sql import Row, SqlReader
from segue.serve.problems import StoreError

FORMAT = 1
LOCK_TIMEOUT = 10.0  # seconds that a commit waits for another process
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
INSERT = (
    "INSERT INTO events (user_id, item_id, kind, weight, time, key) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
Result = TypeVar("Result")


class SqliteStore(SqlReader):
    """A connection to the file; see `segue.serve.events.base.EventStore`."""

    events_table, items_table, placeholder = "events", "items", "?"

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._data_version = -1
        self._connection = self._checked(self._open)

    def write(self, commands: list[StoreCommand]) -> list[int]:
        """Store all commands in one transaction; return the number of new rows of each."""
        return self._checked(lambda: self._write(commands))

    def changed(self) -> bool:
        """Return whether another connection has written since the last call; SQLite counts that."""
        version = int(self.rows("PRAGMA data_version")[0][0])
        changed, self._data_version = version != self._data_version, version
        return changed

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def rows(self, query: str, *parameters: str | int) -> list[Row]:
        """Return the rows of a query."""
        return self._checked(lambda: self._connection.execute(query, parameters).fetchall())

    def _open(self) -> sqlite3.Connection:
        # The service opens a store in one thread and uses it in another.
        connection = sqlite3.connect(
            self.path, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, FORMAT):
            raise StoreError(
                f"{self.path} has the format {version}, which this release does not know; upgrade segue"
            )
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT")
        return connection

    def _write(self, commands: list[StoreCommand]) -> list[int]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            counts = [_apply(connection, command) for command in commands]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return counts

    def _checked(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except sqlite3.Error as error:
            raise StoreError(
                f"the event store {self.path} cannot be used: {error}; check that the disk has room, that "
                "the file is writable, and that no other process locks it"
            ) from error


def _apply(connection: sqlite3.Connection, command: StoreCommand) -> int:
    """Execute a command and return the number of rows that it changed."""
    count = 0
    for event in command.events:
        row = (event.user_id, event.item_id, event.kind, event.weight, event.time, event.key)
        count += connection.execute(INSERT, row).rowcount
    if command.forget is not None:
        count += connection.execute("DELETE FROM events WHERE user_id = ?", (command.forget,)).rowcount
        marker = (command.forget, "", FORGET, 0.0, time.time(), None)
        count += connection.execute(INSERT, marker).rowcount
    if command.item is not None:
        connection.execute("INSERT OR REPLACE INTO items (item_id, known) VALUES (?, ?)", command.item)
        count += 1
    return count
