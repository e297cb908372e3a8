"""Events: what people did, as it comes in and as it is kept."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from segue.errors import DataError, SettingError
from segue.serve.problems import StoreError

# How far an event moves a profile. "seen" only leaves the item out; "clear" takes back what came before it.
KINDS = {"like": 1.0, "buy": 1.0, "click": 0.5, "seen": 0.0, "skip": -0.25, "dislike": -1.0, "clear": 0.0}
CLEAR, FORGET = "clear", "forget"  # a person who was forgotten leaves one row of this kind
LONGEST = 256  # characters of an id or a key
HEAVIEST = 1000.0  # weight of an event
AHEAD = 86_400.0  # seconds that a sender's clock may be ahead
HISTORY = 10_000  # of a person's events, the latest, that count


@dataclass(frozen=True)
class Event:
    """What a person did with an item, at a time in seconds since 1970.

    Attributes:
        user_id, item_id: outside ids, as text.
        kind: one of `KINDS`.
        weight: how far it moves the profile; negative for what was disliked.
        time: when it happened.
        key: the sender's name for it, or None: a second event of the user with this key is the same.
    """

    user_id: str
    item_id: str
    kind: str
    weight: float
    time: float
    key: str | None = None


class StoredEvent(NamedTuple):
    """An event as it comes out of the store; ids grow in the order in which events were kept."""

    id: int
    user_id: str
    item_id: str
    kind: str
    weight: float
    time: float


class NewItem(NamedTuple):
    """An item that was added since training: its number, id, and what is known of it, as JSON."""

    id: int
    item_id: str
    known: str


class StoreCommand(NamedTuple):
    """What is to be kept: events, or a person to forget, or an item to add."""

    events: tuple[Event, ...] = ()
    forget: str | None = None
    item: tuple[str, str] | None = None


class Store(Protocol):
    """Where events are kept. One thread uses one store; several stores may be open on one database."""

    def write(self, writes: list[StoreCommand]) -> list[int]:
        """Keep all durably or none, or raise `StoreError`; return how many events of each were new."""

    def after(self, last: int, most: int) -> list[StoredEvent]:
        """Return the events after an id, in their order."""

    def last(self) -> int:
        """Return the id of the last event, 0 where there is none."""

    def of_user(self, user_id: str) -> list[StoredEvent]:
        """Return the latest events of a person, in their order."""

    def users(self) -> set[str]:
        """Return everybody who has events."""

    def items(self, last: int) -> list[NewItem]:
        """Return the items added after a number, in their order."""

    def changed(self) -> bool:
        """Tell whether others may have written since this was last asked."""

    def close(self) -> None:
        """Let go of the database."""


def event(
    user_id: str, item_id: str, kind: str, weight: float | None, when: float | None, key: str | None
) -> Event:
    """Check an event, fill in what was left out, or raise `DataError`."""
    if kind not in KINDS:
        raise DataError(f"the kind of an event is {kind[:64]!r}; it must be one of {', '.join(KINDS)}")
    now = time.time()
    when = now if when is None else when
    if not 0 <= when <= now + AHEAD:
        raise DataError(
            f"the time of an event is {when!r}; it must be in seconds since 1970, and not to come"
        )
    weight = KINDS[kind] if weight is None else weight
    if not math.isfinite(weight) or abs(weight) > HEAVIEST:
        raise DataError(f"the weight of an event is {weight!r}; it must be within ±{HEAVIEST:g}")
    return Event(
        checked_id(user_id, "user_id"), checked_id(item_id, "item_id"), kind, weight, when,
        None if key is None else checked_id(key, "key"),
    )  # fmt: skip


def checked_id(text: str, what: str) -> str:
    """Return an id that every database can keep, or raise `DataError`."""
    if not 0 < len(text) <= LONGEST:
        raise DataError(f"{what} has {len(text):,} characters; it must have 1 to {LONGEST}")
    if "\0" in text or (not text.isascii() and _halves(text)):
        raise DataError(f"{what} holds a character that cannot be kept: NUL, or half of a pair")
    return text


def open_store(url: str) -> Store:
    """Open the database of a URL, made where it is new, or raise `StoreError` or `SettingError`."""
    if url.startswith("sqlite:///"):
        from segue.serve.events.sqlite import SqliteStore

        return SqliteStore(url.removeprefix("sqlite:///"))
    if url.startswith(("postgresql://", "postgres://")):
        from segue.serve.events.postgres import PostgresStore

        return PostgresStore(url)
    raise SettingError(
        f"events are kept in sqlite:///FILE or postgresql://…, not {url.partition(':')[0][:32]!r}"
    )


def _halves(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


__all__ = [
    "KINDS",
    "Event",
    "NewItem",
    "Store",
    "StoreCommand",
    "StoreError",
    "StoredEvent",
    "event",
    "open_store",
]
