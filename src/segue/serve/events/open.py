"""The event stores, by the scheme of their URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from segue.errors import SettingError
from segue.serve.events.base import EventStore


def _open_sqlite(url: str) -> EventStore:
    from segue.serve.events.sqlite import SqliteStore

    return SqliteStore(url.removeprefix("sqlite:///"))


def _open_postgres(url: str) -> EventStore:
    from segue.serve.events.postgres import PostgresStore  # psycopg is an optional dependency

    return PostgresStore(url)


class StoreKind(NamedTuple):
    """A kind of event store.

    Attributes:
        schemes: the prefixes of its URLs.
        example: a URL for messages and help texts.
        open: connects to the database of a URL and creates its tables if they are missing.
        detects_writes: whether `EventStore.changed` is cheap and local, so that each request can check for
            events of other processes. A store that several hosts share is polled instead.
    """

    schemes: tuple[str, ...]
    example: str
    open: Callable[[str], EventStore]
    detects_writes: bool


STORES = (
    StoreKind(("sqlite:///",), "sqlite:///FILE", _open_sqlite, detects_writes=True),
    StoreKind(("postgresql://", "postgres://"), "postgresql://…", _open_postgres, detects_writes=False),
)


def store_kind(url: str) -> StoreKind:
    """Return the kind of store that a URL names, or raise `SettingError`."""
    for kind in STORES:
        if url.startswith(kind.schemes):
            return kind
    examples = " or ".join(kind.example for kind in STORES)
    scheme = url.partition(":")[0][:32]
    raise SettingError(f"the URL of the event store must be {examples}, not {scheme!r}")


def open_store(url: str) -> EventStore:
    """Open the event store of a URL; raises `SettingError` for an unknown scheme, else `StoreError`."""
    return store_kind(url).open(url)
