"""User events as the service receives and stores them, and the contract of an event store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

# How far an event moves a profile by default. "seen" only excludes the item; "clear" removes earlier events.
KINDS = {"like": 1.0, "buy": 1.0, "click": 0.5, "seen": 0.0, "skip": -0.25, "dislike": -1.0, "clear": 0.0}
CLEAR = "clear"
FORGET = "forget"  # the kind of the marker row that replaces the events of a deleted user
HISTORY = 10_000  # events of a user that count, the latest ones


@dataclass(frozen=True)
class Event:
    """What a user did with an item.

    Attributes:
        user_id, item_id: external ids, as text.
        kind: one of `KINDS`.
        weight: how far the event moves the profile; negative for a dislike.
        time: in seconds since 1970.
        key: idempotency key: the store ignores a second event of the user with the same key. None for none.
    """

    user_id: str
    item_id: str
    kind: str
    weight: float
    time: float
    key: str | None = None


class StoredEvent(NamedTuple):
    """An event as a store returns it; ids grow in the order of the commits."""

    id: int
    user_id: str
    item_id: str
    kind: str
    weight: float
    time: float


class NewItem(NamedTuple):
    """An item added after training: a sequence number, its id, its features and title as JSON."""

    id: int
    item_id: str
    details: str


class StoreCommand(NamedTuple):
    """One write: events to append, a user to forget, or an item (its id and details) to add."""

    events: tuple[Event, ...] = ()
    forget: str | None = None
    item: tuple[str, str] | None = None


class EventStore(Protocol):
    """A durable store of events and new items.

    Each thread uses its own store; several stores may be open on one database. Methods raise `StoreError`
    if the database cannot be used.
    """

    def write(self, commands: list[StoreCommand]) -> list[int]:
        """Store all commands in one durable transaction; return the number of new rows of each."""

    def after(self, last: int, limit: int) -> list[StoredEvent]:
        """Return the first `limit` events with an id above `last`, in order of their ids."""

    def last(self) -> int:
        """Return the id of the latest event, 0 if there is none."""

    def of_user(self, user_id: str) -> list[StoredEvent]:
        """Return the latest `HISTORY` events of a user, in order of their ids."""

    def users(self) -> set[str]:
        """Return the ids of all users with events."""

    def items(self, last: int) -> list[NewItem]:
        """Return the items added after a sequence number, in order."""

    def changed(self) -> bool:
        """Return whether another connection may have written since the last call."""

    def close(self) -> None:
        """Close the connection."""
