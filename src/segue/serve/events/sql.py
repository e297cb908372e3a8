"""The queries that the SQL event stores share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from segue.serve.events.base import HISTORY, NewItem, StoredEvent

Row = tuple[Any, ...]  # the types depend on the query
COLUMNS = "id, user_id, item_id, kind, weight, time"


class SqlReader(ABC):
    """The read methods of `EventStore`, for a database with a table of events and one of new items."""

    events_table: ClassVar[str]
    items_table: ClassVar[str]
    placeholder: ClassVar[str]  # of a query parameter

    @abstractmethod
    def rows(self, query: str, *parameters: str | int) -> list[Row]:
        """Return the rows of a query, or raise `StoreError`."""

    def after(self, last: int, limit: int) -> list[StoredEvent]:
        """Return the first `limit` events with an id above `last`, in order of their ids."""
        query = f"{self._select} WHERE id > {self.placeholder} ORDER BY id LIMIT {self.placeholder}"
        return [StoredEvent(*row) for row in self.rows(query, last, limit)]

    def last(self) -> int:
        """Return the id of the latest event, 0 if there is none."""
        return int(self.rows(f"SELECT coalesce(max(id), 0) FROM {self.events_table}")[0][0])  # noqa: S608

    def of_user(self, user_id: str) -> list[StoredEvent]:
        """Return the latest events of a user, in order of their ids."""
        condition = f"WHERE user_id = {self.placeholder} ORDER BY id DESC LIMIT {self.placeholder}"
        latest = self.rows(f"{self._select} {condition}", user_id, HISTORY)
        return [StoredEvent(*row) for row in reversed(latest)]

    def users(self) -> set[str]:
        """Return the ids of all users with events."""
        return {row[0] for row in self.rows(f"SELECT DISTINCT user_id FROM {self.events_table}")}  # noqa: S608

    def items(self, last: int) -> list[NewItem]:
        """Return the items added after a sequence number, in order."""
        query = f"SELECT id, item_id, known FROM {self.items_table} WHERE id > {self.placeholder} ORDER BY id"  # noqa: S608
        return [NewItem(*row) for row in self.rows(query, last)]

    @property
    def _select(self) -> str:
        return f"SELECT {COLUMNS} FROM {self.events_table}"  # noqa: S608 - constants
