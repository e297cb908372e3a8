"""The middleware around the application: authentication, limits, metrics, and the fast path."""

from __future__ import annotations

import asyncio
import time

from segue.errors import SegueError
from segue.serve.asgi import (
    App,
    HttpResponse,
    Message,
    Receive,
    Scope,
    Send,
    header,
    json_bytes,
    replay,
    send_response,
)
from segue.serve.fast_path import EVENTS, RECOMMEND, FastPath
from segue.serve.keys import Keys
from segue.serve.problems import BodyTimeoutError, BodyTooLargeError, problem, problem_of
from segue.serve.service.service import Service

HEALTH = "/healthz"
PUBLIC = frozenset({"/", HEALTH, "/readyz", "/docs", "/openapi.json"})  # without data: no key needed
PAGE = "/page/"  # static files, public as well
READ_ONLY_POSTS = frozenset({"/v1/recommend"})
HEALTHY = json_bytes(b'{"status":"ok"}')


class Middleware:
    """An ASGI application that checks and counts each request before it passes it on."""

    def __init__(self, app: App, service: Service, keys: Keys | None) -> None:
        self._app, self._service, self._keys = app, service, keys
        self._fast_path = FastPath(service)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path == HEALTH:  # under any load
            await send_response(send, HEALTHY)
            return
        start = time.perf_counter()
        refusal = self._refuse(scope, path)
        if refusal is not None:
            await send_response(send, refusal)
            self._service.metrics.count_response("refused", refusal.status, time.perf_counter() - start)
            return
        self._running += 1
        self._service.metrics.running.set(self._running)
        try:
            route, status = await self._answer(scope, path, receive, send)
        finally:
            self._running -= 1
        self._service.metrics.count_response(route, status, time.perf_counter() - start)

    def _refuse(self, scope: Scope, path: str) -> HttpResponse | None:
        """The response to a request without the required scope, or above the concurrency limit."""
        if self._keys is not None and path not in PUBLIC and not path.startswith(PAGE):
            reads = scope["method"] in ("GET", "HEAD") or path in READ_ONLY_POSTS
            required = "read" if reads else "write"
            scopes = self._keys.scopes(header(scope, b"authorization"))
            if not scopes:
                challenge = {"www-authenticate": "Bearer"}
                return problem(401, "an API key is required: send Authorization: Bearer KEY", challenge)
            if required not in scopes:
                return problem(403, f"this API key lacks the {required} scope")
        limit = self._service.limits.concurrency
        if self._running >= limit:
            return problem(429, f"{limit} requests are in progress; try again later")
        return None

    async def _answer(self, scope: Scope, path: str, receive: Receive, send: Send) -> tuple[str, int]:
        """Answer an accepted request; return the template of its route and the status."""
        options = self._fast_path.list_options(scope, path)
        if options is not None:
            response = await self._fast_path.recommend(path, options)
            await send_response(send, response)
            return RECOMMEND + "{user_id}", response.status
        status = 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            events = None
            if scope["method"] not in ("GET", "HEAD"):
                body = await self._body(scope, receive)
                receive = replay(body, receive)
                events = self._fast_path.events(scope, path, body)
            if events is not None:
                await send_response(send_and_note, await self._fast_path.add_events(events))
        except SegueError as error:
            await send_response(send_and_note, problem_of(error))
        else:
            if events is None:
                await self._app(scope, receive, send_and_note)
        template = EVENTS if path == EVENTS else "other"
        return getattr(scope.get("route"), "path", template).replace(":path", ""), status

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Read a body within the limits of size and time."""
        limits = self._service.limits
        length = header(scope, b"content-length")
        if length.isdigit() and int(length) > limits.body:
            raise BodyTooLargeError(f"the body has {int(length):,} bytes; the limit is {limits.body:,}")
        parts, size, more = [], 0, True
        deadline = time.monotonic() + limits.deadline
        while more:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except (TimeoutError, asyncio.TimeoutError):
                raise BodyTimeoutError("the body did not arrive in time") from None
            more = message["type"] == "http.request" and message.get("more_body", False)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limits.body:
                raise BodyTooLargeError(f"the body has more bytes than the limit of {limits.body:,}")
        return b"".join(parts)
