"""A client of the service: typed results, one error class, retries of requests that are safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, cast
from urllib.parse import quote

from segue.errors import MissingExtraError, SegueError

try:
    import urllib3
except ImportError as error:
    raise MissingExtraError(
        "the client needs urllib3; install it with: pip install 'segue[serve]'"
    ) from error

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from segue.serve.payloads import ModelPayload, UserPayload

Id = str | int
Payload = dict[str, Any]  # a JSON object
TIMEOUT = 15.0  # seconds
TRIES = 4
RETRY_STATUSES = (429, 503)


class ServiceError(SegueError):
    """The service refused a request, or does not answer.

    Attributes:
        status: the HTTP status, 0 if there was no response.
        detail: the message of the service.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status, self.detail = status, detail


class ListArguments(TypedDict, total=False):
    """Which items a list contains and how it is made; see `segue.recommender.options.ListOptions`."""

    allow: Iterable[Id] | None
    exclude: Iterable[Id]
    where: Iterable[str]
    exclude_seen: bool
    explore: str | None
    diversify: str | None
    explain: bool
    seed: int


@dataclass(frozen=True)
class Item:
    """An item of a list.

    Attributes:
        propensity: with `explore`, the probability of the item to be in the list.
        reasons: with `explain`, what its score consists of.
    """

    item_id: Id
    score: float
    rank: int
    title: str | None = None
    propensity: float | None = None
    reasons: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True)
class Recommendations:
    """A list, the model version that made it, and its source (`profile`, `trained`, `popular`, …)."""

    model_version: str
    source: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Accepted:
    """How many events are new, and how many were stored before."""

    accepted: int
    duplicates: int
    unknown_items: tuple[str, ...]


class Client:
    """A client of one service; threads may share it.

    Args:
        url: the address of the service, such as `http://127.0.0.1:8000`.
        key: an API key, if the service requires one.
        timeout: of a request, in seconds.

    Requests are retried if the service is busy or the connection breaks; requests that store events only if
    all events have keys.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout: float = TIMEOUT) -> None:
        self._url = url.rstrip("/")
        self._headers = {"accept": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._pool = urllib3.PoolManager(timeout=timeout, maxsize=32)

    def recommend(self, user_id: Id, k: int = 10, **options: Unpack[ListArguments]) -> Recommendations:
        """Recommend k items to a user."""
        query: list[tuple[str, str]] = [("k", str(k))]
        for name, value in _to_json(options).items():
            if name == "allow" and not value:
                raise ServiceError(422, "allow is empty, so there is nothing to recommend")
            values = value if isinstance(value, list) else [value]
            query += [(name, str(part).lower() if isinstance(part, bool) else str(part)) for part in values]
        return _recommendations(self._call("GET", f"/v1/recommend/{_quoted(user_id)}", query=query))

    def recommend_many(
        self, user_ids: Sequence[Id], k: int = 10, **options: Unpack[ListArguments]
    ) -> dict[str, Recommendations]:
        """Recommend k items to each of several users; the keys are their ids as text."""
        payload = self._call("POST", "/v1/recommend", {"users": list(user_ids), "k": k, **_to_json(options)})
        return {user["user_id"]: _recommendations(user) for user in payload["users"]}

    def recommend_for(
        self,
        history: Iterable[Id] | Mapping[Id, float] | None = None,
        k: int = 10,
        *,
        features: Mapping[str, object] | None = None,
        vector: Sequence[float] | None = None,
        **options: Unpack[ListArguments],
    ) -> Recommendations:
        """Recommend k items to an untrained user by a history, by features, or by a vector."""
        body: dict[str, object] = {"k": k, **_to_json(options)}
        if isinstance(history, Mapping):
            body["history"] = {str(item): float(weight) for item, weight in history.items()}
        elif history is not None:
            body["history"] = list(history)
        if features is not None:
            body["features"] = dict(features)
        if vector is not None:
            body["vector"] = list(vector)
        return _recommendations(self._call("POST", "/v1/recommend", body))

    def similar(self, item_id: Id, k: int = 10) -> tuple[Item, ...]:
        """Return the k items nearest to an item."""
        return _items(self._call("GET", f"/v1/similar/{_quoted(item_id)}", query=[("k", str(k))]))

    def search(self, text: str, k: int = 10) -> tuple[Item, ...]:
        """Return the k best items for a text."""
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
        """Store what a user did with an item; it is durable when this returns."""
        event = {
            "user_id": user_id,
            "item_id": item_id,
            "kind": kind,
            "weight": weight,
            "time": time,
            "key": key,
        }
        return self.events([event])

    def events(self, events: Iterable[Mapping[str, object]]) -> Accepted:
        """Store several events: mappings of user_id, item_id, and optionally kind, weight, time, key."""
        body = [{name: value for name, value in event.items() if value is not None} for event in events]
        payload = self._call("POST", "/v1/events", body, retry=all("key" in event for event in body))
        return Accepted(payload["accepted"], payload["duplicates"], tuple(payload["unknown_items"]))

    def user(self, user_id: Id) -> UserPayload:
        """Return what the service knows of a user."""
        return cast("UserPayload", self._call("GET", f"/v1/users/{_quoted(user_id)}"))

    def forget(self, user_id: Id) -> int:
        """Delete all events of a user, and return their number."""
        return int(self._call("DELETE", f"/v1/users/{_quoted(user_id)}")["events_deleted"])

    def item(self, item_id: Id) -> dict[str, object]:
        """Return the metadata of an item."""
        return self._call("GET", f"/v1/items/{_quoted(item_id)}")

    def add_item(
        self, item_id: Id, features: Mapping[str, object], title: str | None = None
    ) -> dict[str, object]:
        """Add an item that is not in the training data, placed by its features; return its metadata."""
        body = {"features": dict(features), "title": title}
        return self._call("PUT", f"/v1/items/{_quoted(item_id)}", body)

    def model(self) -> ModelPayload:
        """Return the model version that is served, and its settings."""
        return cast("ModelPayload", self._call("GET", "/v1/model"))

    def ready(self) -> bool:
        """Return whether the service is ready."""
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
        body: object = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        retry: bool = True,
    ) -> Payload:
        parts = "&".join(f"{name}={quote(value, safe='')}" for name, value in query)
        url = f"{self._url}{path}?{parts}" if parts else f"{self._url}{path}"
        raw = None if body is None else json.dumps(body).encode()
        retries: urllib3.Retry | bool = False
        if retry:
            retries = urllib3.Retry(
                TRIES - 1,
                allowed_methods=None,
                status_forcelist=RETRY_STATUSES,
                backoff_factor=0.1,
                raise_on_status=False,
            )
        try:
            response = self._send(method, url, raw, retries)
        except urllib3.exceptions.HTTPError as error:
            raise ServiceError(0, f"the service at {self._url} does not answer: {error}") from error
        return _payload(response.status, response.data)

    def _send(
        self, method: str, url: str, body: bytes | None, retries: urllib3.Retry | bool = False
    ) -> urllib3.BaseHTTPResponse:
        headers = {**self._headers, "content-type": "application/json"} if body else self._headers
        return self._pool.request(method, url, body=body, headers=headers, retries=retries)


def _payload(status: int, raw: bytes) -> Payload:
    """The payload of a response; raises `ServiceError` for an error."""
    try:
        payload = json.loads(raw)
    except ValueError as error:
        raise ServiceError(status, f"not a response of segue: {raw[:100]!r}") from error
    if status != 200:
        detail = payload.get("detail", payload) if isinstance(payload, dict) else payload
        raise ServiceError(status, str(detail))
    if not isinstance(payload, dict):
        raise ServiceError(status, f"not a response of segue: {raw[:100]!r}")
    return payload


def _recommendations(payload: Payload) -> Recommendations:
    return Recommendations(payload["model_version"], payload["source"], _items(payload))


def _items(payload: Payload) -> tuple[Item, ...]:
    return tuple(
        Item(
            item["item_id"],
            item["score"],
            item["rank"],
            item["title"],
            item.get("propensity"),
            tuple(item.get("reasons", ())),
        )
        for item in payload["items"]
    )


def _to_json(options: ListArguments) -> dict[str, object]:
    """Options without None, their iterables as lists."""
    return {
        name: value if isinstance(value, (bool, int, str)) else list(cast(Iterable[object], value))
        for name, value in options.items()
        if value is not None
    }


def _quoted(part: Id) -> str:
    return quote(str(part), safe="")
