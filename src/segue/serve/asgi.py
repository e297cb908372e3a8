"""ASGI types, and complete responses that need no framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

Scope = MutableMapping[str, Any]  # ASGI leaves the types of the values open
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
JSON = b"application/json"


class HttpResponse(NamedTuple):
    """A complete HTTP response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def json_bytes(body: bytes) -> HttpResponse:
    """Return a 200 response with a JSON body."""
    return HttpResponse(200, [(b"content-type", JSON), (b"content-length", b"%d" % len(body))], body)


async def send_response(send: Send, response: HttpResponse) -> None:
    """Send a complete response."""
    status, headers, body = response
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def header(scope: Scope, name: bytes) -> bytes:
    """Return the value of a request header, empty if it is missing."""
    return next((value for key, value in scope["headers"] if key == name), b"")


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields a body that was already read, then what `receive` yields."""
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return first.pop() if first else await receive()

    return receive_again
