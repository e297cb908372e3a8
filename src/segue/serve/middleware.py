"""The gate before all routes: keys, limits, counts, and a short way for the commonest requests."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from segue.errors import DataError, SegueError
from segue.serve.events.base import Event, event
from segue.serve.keys import Keys
from segue.serve.options import Wish
from segue.serve.problems import SlowBodyError, TooLongError, problem, problem_of
from segue.serve.service.service import Service

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

OPEN = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json"})  # for everybody: they hold no data
PAGE = "/page/"  # the files of the page, which hold none either
READING = frozenset({"/v1/recommend"})  # posts that change nothing
RECOMMEND, EVENTS, HEALTH = "/v1/recommend/", "/v1/events", "/healthz"
FIELDS = {"user_id", "item_id", "kind", "weight", "time", "key"}  # of an event
IDS, NUMBERS = (str, int), (int, float, type(None))
SHORT = re.compile(rb"(?:k=([1-9][0-9]{0,5}))?")  # the queries that the short way understands
PLAIN = re.compile(r"[\w.:@-]{1,256}")  # and the ids
JSON = (b"content-type", b"application/json")
HEALTHY = (200, [JSON, (b"content-length", b"15")], b'{"status":"ok"}')


class Gate:
    """An ASGI application before another.

    `GET /v1/recommend/{user_id}` with no parameter but k, and `POST /v1/events` with events in which all is
    right, are answered here, past the framework: the answer is that of the route, in less than half of the
    time. All else, and all that is wrong, is the route's.
    """

    def __init__(self, app: App, service: Service, keys: Keys | None) -> None:
        self._app, self._service, self._keys = app, service, keys
        self._running = 0
        self._most = service.limits.concurrency
        self._short: dict[bytes, Wish] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path == HEALTH:  # always, however busy the service is
            await respond(send, HEALTHY)
            return
        begun = time.perf_counter()
        refused = self._refused(scope, path)
        if refused is not None:
            await respond(send, refused)
            self._service.metrics.answered("refused", refused[0], time.perf_counter() - begun)
            return
        self._running += 1
        self._service.metrics.busy.set(self._running)
        try:
            await self._pass(scope, path, receive, send, begun)
        finally:
            self._running -= 1

    async def _pass(self, scope: Scope, path: str, receive: Receive, send: Send, begun: float) -> None:
        route, status = RECOMMEND + "{user_id}", 500
        wish = self._wish(scope, path)
        if wish is not None:
            answer = await self._recommended(path[len(RECOMMEND) :], wish)
            status = answer[0]
            await respond(send, answer)
        else:

            async def noting(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            events = None
            try:
                if scope["method"] not in ("GET", "HEAD"):
                    raw = await self._body(scope, receive)
                    receive = once(raw, receive)
                    events = self._events(scope, path, raw)
                if events is not None:
                    await respond(noting, rendered(await self._service.keep(events)))
            except SegueError as error:
                await respond(noting, problem_of(error))
            else:
                if events is None:
                    await self._app(scope, receive, noting)
            known = EVENTS if path == EVENTS else "other"
            route = getattr(scope.get("route"), "path", known).replace(":path", "")
        self._service.metrics.answered(route, status, time.perf_counter() - begun)

    def _wish(self, scope: Scope, path: str) -> Wish | None:
        """What is wanted, if the short way can answer it."""
        if scope["method"] != "GET" or not path.startswith(RECOMMEND) or not self._service.ready:
            return None
        query: bytes = scope["query_string"]
        wish = self._short.get(query)
        if wish is None:
            found = SHORT.fullmatch(query)
            k = 10 if found is None or found[1] is None else int(found[1])
            if found is None or k > self._service.limits.k:
                return None
            wish = self._short[query] = Wish(k)
        return wish if PLAIN.fullmatch(path, len(RECOMMEND)) else None

    async def _recommended(self, user_id: str, wish: Wish) -> Answer:
        try:
            return rendered(await self._service.for_user(user_id, wish))
        except SegueError as error:
            return problem_of(error)

    def _events(self, scope: Scope, path: str, raw: bytes) -> list[Event] | None:
        """The events of a body, if the short way can read it."""
        if path != EVENTS or scope["method"] != "POST" or not self._service.ready:
            return None
        if not header(scope, b"content-type").startswith(JSON[1]):
            return None
        return short_events(raw, self._service.limits.events)

    def _refused(self, scope: Scope, path: str) -> Answer | None:
        """The answer to a request that may not pass."""
        if self._keys is not None and path not in OPEN and not path.startswith(PAGE):
            reading = scope["method"] in ("GET", "HEAD") or path in READING
            wanted = "read" if reading else "write"
            scopes = self._keys.scopes(header(scope, b"authorization"))
            if not scopes:
                told = {"www-authenticate": "Bearer"}
                return problem(401, "send a key of this service: Authorization: Bearer KEY", told)
            if wanted not in scopes:
                return problem(403, f"this key is not one that may {wanted}")
        if self._running >= self._most:
            return problem(429, f"{self._most} requests are being worked on; send this one again later")
        return None

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Read a body; it must not be long, or take long."""
        most = self._service.limits.body
        length = header(scope, b"content-length")
        if length.isdigit() and int(length) > most:
            raise TooLongError(f"the body has {int(length):,} bytes; at most {most:,} are taken")
        parts, size, more = [], 0, True
        deadline = time.monotonic() + self._service.limits.deadline
        while more:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except (TimeoutError, asyncio.TimeoutError):
                raise SlowBodyError("the body did not come in time") from None
            more = message["type"] == "http.request" and message.get("more_body", False)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise TooLongError(f"the body has more than the {most:,} bytes that are taken")
        return b"".join(parts)


def short_events(raw: bytes, most: int) -> list[Event] | None:
    """The events of a body in which all is as usual; None where anything is not, and the route must tell."""
    try:
        given = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    bodies = given if type(given) is list else [given]
    made = []
    for one in bodies if len(bodies) <= most else [None]:
        if type(one) is not dict or one.keys() - FIELDS:
            return None
        fields = [one.get(name) for name in ("user_id", "item_id", "weight", "time", "key")]
        user, item, weight, when, key = fields
        kind = one.get("kind", "like")
        numbers = type(weight) in NUMBERS and type(when) in NUMBERS
        if type(user) not in IDS or type(item) not in IDS or type(kind) is not str or not numbers:
            return None
        if key is not None and type(key) is not str:
            return None
        try:
            made.append(event(str(user), str(item), kind, weight, when, key))
        except DataError:
            return None
    return made


def rendered(told: Any) -> Answer:
    """An answer of JSON."""
    body = orjson.dumps(told)
    return 200, [JSON, (b"content-length", b"%d" % len(body))], body


def once(raw: bytes, receive: Receive) -> Receive:
    """Give a body that has been read once more."""
    first = [{"type": "http.request", "body": raw, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again


def header(scope: Scope, name: bytes) -> bytes:
    """The value of a header, empty where it is missing."""
    return next((value for key, value in scope["headers"] if key == name), b"")


async def respond(send: Send, answer: Answer) -> None:
    """Send an answer that is whole."""
    status, headers, body = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
