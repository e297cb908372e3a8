"""Errors as problem details (RFC 9457): one HTTP status for each exception class."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TypedDict

from pydantic_core import ErrorDetails

from segue.errors import DataError, MissingExtraError, SegueError, SettingError, UnknownIdError
from segue.serve.asgi import HttpResponse

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "1"  # seconds
log = logging.getLogger("segue")


class StoreError(SegueError):
    """The event store cannot be read or written: no space, no permission, no database."""


class DeadlineError(SegueError):
    """A request exceeded its deadline."""


class BusyError(SegueError):
    """Too many writes or requests are waiting."""


class BodyTooLargeError(SegueError):
    """A request body exceeds the size limit."""


class BodyTimeoutError(SegueError):
    """A request body did not arrive in time."""


STATUSES: dict[type[SegueError], int] = {
    UnknownIdError: 404,
    DataError: 422,
    SettingError: 422,
    BodyTimeoutError: 408,
    BodyTooLargeError: 413,
    BusyError: 429,
    MissingExtraError: 501,
    StoreError: 503,
    DeadlineError: 503,
}


class FieldError(TypedDict):
    """A validation error: the location in the request, such as `body.k`, and what is wrong with it."""

    location: str
    message: str


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[FieldError] | None = None,
) -> HttpResponse:
    """Return a problem response; `errors` lists the fields that failed validation."""
    body: dict[str, object] = {
        "type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail
    }  # fmt: skip
    if errors is not None:
        body["errors"] = errors
    raw = json.dumps(body).encode()
    fields = {"content-type": MEDIA_TYPE, "content-length": str(len(raw)), **(headers or {})}
    if status in (429, 503):
        fields["retry-after"] = RETRY_AFTER
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
    return HttpResponse(status, pairs, raw)


def problem_of(error: SegueError) -> HttpResponse:
    """Return the problem response of an exception; one without a status is a bug, and its text is hidden."""
    status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 500)
    if status >= 500:
        log.error("%s: %s", type(error).__name__, error)
    return problem(status, str(error) if status != 500 else "internal server error; see the log")


def field_errors(errors: Sequence[ErrorDetails]) -> list[FieldError]:
    """Return the first validation errors of pydantic, without the input, which may be long or invalid."""
    return [
        FieldError(
            location=".".join(str(part)[:64] for part in error["loc"]), message=str(error["msg"])[:200]
        )
        for error in errors[:10]
    ]
