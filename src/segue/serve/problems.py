"""Errors as the service tells them: problem+json (RFC 9457), one status for each kind."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from segue.errors import DataError, MissingExtraError, SegueError, SettingError, UnknownIdError

MEDIA_TYPE = b"application/problem+json"
RETRY = "1"  # seconds, in Retry-After
log = logging.getLogger("segue")


class StoreError(SegueError):
    """Events could not be written or read: no room, no permission, no database."""


class TooSlowError(SegueError):
    """A request waited longer than its deadline."""


class BusyError(SegueError):
    """More is being asked for at once than the service takes on."""


class TooLongError(SegueError):
    """A body is longer than the service takes."""


class SlowBodyError(SegueError):
    """A body did not come in time."""


STATUSES: dict[type[SegueError], int] = {
    UnknownIdError: 404,
    DataError: 422,
    SettingError: 422,
    SlowBodyError: 408,
    TooLongError: 413,
    BusyError: 429,
    MissingExtraError: 501,
    StoreError: 503,
    TooSlowError: 503,
}


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of an answer that says what is wrong."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    raw = json.dumps({**body, **more}).encode()
    told = {"content-type": MEDIA_TYPE.decode(), "content-length": str(len(raw)), **(headers or {})}
    if status in (429, 503):
        told["retry-after"] = RETRY
    return status, [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()], raw


def problem_of(error: SegueError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return the answer to an error that segue raises on purpose; the rest is a bug, and says nothing."""
    status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 500)
    if status >= 500:
        log.error("%s: %s", type(error).__name__, error)
    return problem(status, str(error) if status != 500 else "the service failed; its log says why")


def listed(errors: Any) -> list[dict[str, str]]:
    """What a request's validation found, without the input, which may be long or no JSON."""
    return [
        {"where": ".".join(str(part)[:64] for part in one["loc"]), "what": str(one["msg"])[:200]}
        for one in list(errors)[:10]
    ]
