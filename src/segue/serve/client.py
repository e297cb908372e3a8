"""A client of the service: typed answers, one error, retries where they do no harm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from segue.errors import MissingExtraError, SegueError

try:
    import urllib3
except ImportError as error:
    raise MissingExtraError(
        "the client needs urllib3; install it with: pip install 'segue[serve]'"
    ) from error

Id = str | int
TIMEOUT = 15.0  # seconds
TRIES = 4
AGAIN = (429, 503)


class ServiceError(SegueError):
    """What the service refused, or that it does not answer.

    Attributes:
        status: the HTTP status, 0 where there was no answer.
        detail: what the service said.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True)
class Item:
    """An item of a list."""

    item_id: Id
    score: float
    rank: int
    title: str | None = None


@dataclass(frozen=True)
class Recommendations:
    """A list, the version that made it, and what it was made from (`profile`, `trained`, `popular`, …)."""

    model_version: str
    source: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Accepted:
    """How many events were new, and how many had been kept before."""

    accepted: int
    duplicates: int
    unknown_items: tuple[str, ...]


class Client:
    """Calls a service; threads may share one.

    Args:
        url: where it listens, such as `http://127.0.0.1:8000`.
        key: an API key, if the service wants one.
        timeout: seconds until an answer is given up.

    Reads are tried again where the service is busy or the connection breaks. So are events, if all have keys.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout: float = TIMEOUT) -> None:
        self._url = url.rstrip("/")
        self._headers = {"accept": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._pool = urllib3.PoolManager(timeout=timeout, maxsize=32)

    def recommend(
        self,
        user_id: Id,
        k: int = 10,
        *,
        allow: Iterable[Id] | None = None,
        deny: Iterable[Id] = (),
        where: Iterable[str] = (),
        exclude_seen: bool = True,
    ) -> Recommendations:
        """Recommend k items to a user."""
        query: list[tuple[str, str]] = [("k", str(k))]
        query += [("allow", str(one)) for one in allow or ()]
        query += [("deny", str(one)) for one in deny] + [("where", one) for one in where]
        if not exclude_seen:
            query.append(("exclude_seen", "false"))
        if allow is not None and not any(name == "allow" for name, _ in query):
            raise ServiceError(422, "allow is empty, so there is nothing to recommend")
        return _list(self._call("GET", f"/v1/recommend/{_part(user_id)}", query=query))

    def recommend_many(self, user_ids: Sequence[Id], k: int = 10, **wish: Any) -> dict[str, Recommendations]:
        """Recommend k items to each of many users, by their ids as text; `wish` as in `recommend`."""
        found = self._call("POST", "/v1/recommend", {"users": list(user_ids), "k": k, **_plain(wish)})
        return {one["user_id"]: _list(one) for one in found["users"]}

    def recommend_for(
        self,
        history: Iterable[Id] | Mapping[Id, float] | None = None,
        k: int = 10,
        *,
        features: Mapping[str, Any] | None = None,
        vector: Sequence[float] | None = None,
        **wish: Any,
    ) -> Recommendations:
        """Recommend k items to somebody new: by a history, by features, or by a vector."""
        given: dict[str, Any] = {"features": features, "vector": vector}
        if isinstance(history, Mapping):
            given["history"] = {str(item): float(weight) for item, weight in history.items()}
        elif history is not None:
            given["history"] = list(history)
        body = {name: value for name, value in given.items() if value is not None}
        return _list(self._call("POST", "/v1/recommend", {**body, "k": k, **_plain(wish)}))

    def similar(self, item_id: Id, k: int = 10) -> tuple[Item, ...]:
        """Find the k items nearest to an item."""
        return _items(self._call("GET", f"/v1/similar/{_part(item_id)}", query=[("k", str(k))]))

    def search(self, text: str, k: int = 10) -> tuple[Item, ...]:
        """Find k items by text."""
        return _items(self._call("GET", "/v1/search", query=[("q", text), ("k", str(k))]))

    def event(
        self,
        user_id: Id,
        item_id: Id,
        kind: str = "like",
        *,
        weight: float | None = None,
        time: float | None = None,
        key: str | None = None,
    ) -> Accepted:
        """Tell what a user did with an item; when this returns, it is on the disk."""
        one = {
            "user_id": user_id,
            "item_id": item_id,
            "kind": kind,
            "weight": weight,
            "time": time,
            "key": key,
        }
        return self.events([one])

    def events(self, events: Iterable[Mapping[str, Any]]) -> Accepted:
        """Tell many events at once: mappings of user_id, item_id, and kind, weight, time, key."""
        body = [{name: value for name, value in one.items() if value is not None} for one in events]
        found = self._call("POST", "/v1/events", body, again=all("key" in one for one in body))
        return Accepted(found["accepted"], found["duplicates"], tuple(found["unknown_items"]))

    def user(self, user_id: Id) -> dict[str, Any]:
        """Return what the service knows of a user."""
        return self._call("GET", f"/v1/users/{_part(user_id)}")

    def forget(self, user_id: Id) -> int:
        """Delete all events of a user, and return how many there were."""
        return int(self._call("DELETE", f"/v1/users/{_part(user_id)}")["events_deleted"])

    def item(self, item_id: Id) -> dict[str, Any]:
        """Return what is known of an item."""
        return self._call("GET", f"/v1/items/{_part(item_id)}")

    def add_item(self, item_id: Id, features: Mapping[str, Any], title: str | None = None) -> dict[str, Any]:
        """Add an item that was not there in training, placed by its features."""
        body = {"features": dict(features), "title": title}
        return self._call("PUT", f"/v1/items/{_part(item_id)}", body)

    def model(self) -> dict[str, Any]:
        """Return which version answers, and what it is."""
        return self._call("GET", "/v1/model")

    def ready(self) -> bool:
        """Tell whether the service is ready."""
        try:
            return self._send("GET", f"{self._url}/readyz", None).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        again: bool | None = None,
    ) -> dict[str, Any]:
        parts = "&".join(f"{name}={quote(value, safe='')}" for name, value in query)
        url = f"{self._url}{path}?{parts}" if parts else f"{self._url}{path}"
        raw = None if body is None else json.dumps(body).encode()
        again = path != "/v1/events" if again is None else again
        retries: urllib3.Retry | bool = False
        if again:
            retries = urllib3.Retry(
                TRIES - 1,
                allowed_methods=None,
                status_forcelist=AGAIN,
                backoff_factor=0.1,
                raise_on_status=False,
            )
        try:
            answer = self._send(method, url, raw, retries)
        except urllib3.exceptions.HTTPError as error:
            raise ServiceError(0, f"the service at {self._url} does not answer: {error}") from error
        return _told(answer.status, answer.data)

    def _send(
        self, method: str, url: str, body: bytes | None, retries: urllib3.Retry | bool = False
    ) -> urllib3.BaseHTTPResponse:
        headers = {**self._headers, "content-type": "application/json"} if body else self._headers
        return self._pool.request(method, url, body=body, headers=headers, retries=retries)


def _told(status: int, raw: bytes) -> dict[str, Any]:
    """The answer of a call, or the error that it is."""
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise ServiceError(status, f"this is no answer of segue: {raw[:100]!r}") from error
    if status != 200:
        detail = found.get("detail", found) if isinstance(found, dict) else found
        raise ServiceError(status, str(detail))
    if not isinstance(found, dict):
        raise ServiceError(status, f"this is no answer of segue: {raw[:100]!r}")
    return found


def _list(found: Mapping[str, Any]) -> Recommendations:
    return Recommendations(found["model_version"], found["source"], _items(found))


def _items(found: Mapping[str, Any]) -> tuple[Item, ...]:
    return tuple(Item(one["item_id"], one["score"], one["rank"], one["title"]) for one in found["items"])


def _plain(wish: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, bool) else list(value)
        for name, value in wish.items()
        if value is not None
    }


def _part(one: Id) -> str:
    return quote(str(one), safe="")
