"""Validation of events and ids."""

from __future__ import annotations

import math
import time

from segue.errors import DataError
from segue.serve.events.base import KINDS, Event

MAX_ID_LENGTH = 256  # characters of an id or a key
MAX_WEIGHT = 1000.0  # absolute weight of an event
CLOCK_SKEW = 86_400.0  # seconds that the clock of a client may be ahead


def new_event(
    user_id: str, item_id: str, kind: str, weight: float | None, when: float | None, key: str | None
) -> Event:
    """Return a validated event, with the defaults of its kind and the current time for None.

    Raises `DataError` for an unknown kind, a time or weight out of range, and invalid ids.
    """
    if kind not in KINDS:
        raise DataError(f"the kind of an event is {kind[:64]!r}; it must be one of {', '.join(KINDS)}")
    now = time.time()
    when = now if when is None else when
    if not 0 <= when <= now + CLOCK_SKEW:
        raise DataError(
            f"the time of an event is {when!r}; it must be in seconds since 1970 and not in the future"
        )
    weight = KINDS[kind] if weight is None else weight
    if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
        raise DataError(f"the weight of an event is {weight!r}; it must be within ±{MAX_WEIGHT:g}")
    return Event(
        check_id(user_id, "user_id"),
        check_id(item_id, "item_id"),
        kind,
        weight,
        when,
        None if key is None else check_id(key, "key"),
    )


def check_id(text: str, name: str) -> str:
    """Return an id that every database can store, or raise `DataError`; `name` is the name of its field."""
    if not 0 < len(text) <= MAX_ID_LENGTH:
        raise DataError(f"{name} has {len(text):,} characters; it must have 1 to {MAX_ID_LENGTH}")
    if "\0" in text or (not text.isascii() and _has_lone_surrogate(text)):
        raise DataError(f"{name} contains a character that cannot be stored: NUL or a lone surrogate")
    return text


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
