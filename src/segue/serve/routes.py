"""The routes of the API: each takes a request apart, calls the service, and renders its answer."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response

from segue.errors import DataError, SettingError
from segue.serve.events.base import LONGEST, checked_id
from segue.serve.metrics import CONTENT_TYPE
from segue.serve.options import Wish, check_ids, checked
from segue.serve.schemas import (
    EventBody,
    EventsAnswer,
    ItemBody,
    ItemsAnswer,
    ListAnswer,
    ListBody,
    ManyAnswer,
    Problem,
    as_float,
)
from segue.serve.service.service import Service

PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": what, "content": {"application/problem+json": {}}}
    for code, what in (
        (400, "the body is no JSON"),
        (401, "no key"),
        (403, "a key that may not"),
        (404, "there is no such item"),
        (413, "the body is too long"),
        (422, "something in it cannot be"),
        (429, "too much at once: come again"),
        (503, "cannot be done now: come again"),
    )
}
Explore = Annotated[
    str | None,
    Query(description="buckets, gaussian, gumbel, optimism, reserved, thompson; with a value: gumbel:0.5"),
]
Diversity = Annotated[float, Query(ge=0, le=1, description="0: the best; 1: as unlike as can be")]
Seed = Annotated[int | None, Query(ge=0, lt=2**31, description="of the exploration; told with the list")]
Why = Annotated[bool, Query(description="tell what each item owes its score to")]
Depth = Annotated[int, Query(ge=1, le=1_000_000, description="how many items")]
Many = Annotated[list[str] | None, Query(description="ids of items; repeatable")]
Where = Annotated[
    list[str] | None, Query(description="a condition on the metadata, such as genres=Drama; repeatable")
]


def router(service: Service) -> APIRouter:
    """Return the routes of a service."""
    made = APIRouter(responses=PROBLEMS)
    _lists(made, service)
    _things(made, service)
    _changes(made, service)
    _operation(made, service)
    return made


def _lists(made: APIRouter, service: Service) -> None:
    @made.get("/v1/recommend/{user_id:path}", responses={200: {"model": ListAnswer}}, tags=["lists"])
    async def recommend(
        user_id: str,
        k: Depth = 10,
        allow: Many = None,
        deny: Many = None,
        where: Where = None,
        exclude_seen: bool = True,
        explore: Explore = None,
        diversity: Diversity = 0.0,
        seed: Seed = None,
        why: Why = False,
    ) -> Response:
        """Recommend items to a person: by what they did since, as trained, or what is popular."""
        allowed = None if allow is None else tuple(allow)
        filters = allowed, tuple(deny or ()), tuple(where or ())
        wish = checked(Wish(k, *filters, exclude_seen, explore, diversity, seed, why), service.limits)
        return rendered(await service.for_user(checked_id(user_id, "user_id"), wish))

    @made.get("/v1/panels/{user_id:path}", tags=["lists"])
    async def panels(
        user_id: str,
        k: Depth = 10,
        allow: Many = None,
        deny: Many = None,
        where: Where = None,
        why: Why = False,
    ) -> Response:
        """Recommend to a person in four ways at once: the best, by noise, of buckets, and diverse ones."""
        allowed = None if allow is None else tuple(allow)
        wish = checked(Wish(k, allowed, tuple(deny or ()), tuple(where or ()), why=why), service.limits)
        return rendered(await service.panels(checked_id(user_id, "user_id"), wish))

    @made.post("/v1/recommend", responses={200: {"model": ListAnswer | ManyAnswer}}, tags=["lists"])
    async def recommend_to(body: ListBody) -> Response:
        """Recommend to many users, or to somebody new by a history, a vector or features."""
        return rendered(await _recommend_to(service, body))

    @made.get("/v1/similar/{item_id:path}", responses={200: {"model": ItemsAnswer}}, tags=["lists"])
    async def similar(
        item_id: str, k: Depth = 10, allow: Many = None, deny: Many = None, where: Where = None
    ) -> Response:
        """Find the items nearest to an item."""
        wish = Wish(k, None if allow is None else tuple(allow), tuple(deny or ()), tuple(where or ()))
        return rendered(await service.similar(item_id, checked(wish, service.limits)))

    @made.get("/v1/search", responses={200: {"model": ItemsAnswer}}, tags=["lists"])
    async def search(
        q: Annotated[str, Query(min_length=1, max_length=1000)], k: Depth = 10, where: Where = None
    ) -> Response:
        """Find items by text."""
        wish = checked(Wish(k, where=tuple(where or ())), service.limits)
        return rendered(await service.search(q, wish))


async def _recommend_to(service: Service, body: ListBody) -> dict[str, Any]:
    limits = service.limits
    wish = checked(
        Wish(
            body.k,
            None if body.allow is None else texts(body.allow),
            texts(body.deny),
            tuple(body.where),
            body.exclude_seen,
            body.explore,
            as_float(body.diversity),
            body.seed,
            body.why,
        ),
        limits,
    )
    given = [name for name in ("users", "history", "vector", "features") if getattr(body, name) is not None]
    if len(given) != 1:
        raise SettingError(
            f"{' and '.join(given) or 'nothing'} came; give one of users, history, vector, features"
        )
    if body.users is not None:
        users = texts(body.users)
        if len(users) > limits.users:
            raise SettingError(f"{len(users):,} users came; at most {limits.users:,} are taken at once")
        return await service.for_users([checked_id(one, "users") for one in users], wish)
    if body.history is not None:
        weighted = body.history if isinstance(body.history, dict) else {}
        had = tuple(weighted) if isinstance(body.history, dict) else texts(body.history)
        check_ids(had, "history", limits)
        history = {one: as_float(weighted.get(one, 1.0)) for one in had}
        return await service.for_history(history, wish)
    if body.vector is not None:
        return await service.for_vector([as_float(one) for one in body.vector], wish)
    return await service.for_features(body.features or {}, wish)


def _things(made: APIRouter, service: Service) -> None:
    @made.get("/v1/users/{user_id:path}", tags=["people and items"])
    async def user(user_id: str, trail: Annotated[int, Query(ge=0, le=1000)] = 100) -> Response:
        """Tell what the service knows of a person: their latest events, and where these lie on the map."""
        return rendered(await service.describe_user(user_id, trail))

    @made.get("/v1/items/{item_id:path}", tags=["people and items"])
    async def item(item_id: str) -> Response:
        """Tell what is known of an item."""
        return rendered(service.item(item_id))

    @made.get("/v1/map", tags=["people and items"])
    async def catalogue(most: Annotated[int, Query(ge=1, le=20_000)] = 2000) -> Response:
        """Place the items with most users in two dimensions."""
        return rendered(await service.map(most))

    @made.get("/v1/facets", tags=["people and items"])
    async def facets() -> Response:
        """Tell what the items can be filtered by: columns, with their ranges or commonest values."""
        return rendered(await service.facets())


def _changes(made: APIRouter, service: Service) -> None:
    @made.post("/v1/events", responses={200: {"model": EventsAnswer}}, tags=["events"])
    async def events(body: EventBody | list[EventBody]) -> Response:
        """Keep what people did, one event or many: all or, where one is wrong, none.

        The answer comes when the events are on the disk and have moved the profiles.
        """
        bodies = body if isinstance(body, list) else [body]
        if len(bodies) > service.limits.events:
            raise SettingError(
                f"{len(bodies):,} events came; at most {service.limits.events:,} are taken at once"
            )
        return rendered(await service.keep([one.checked() for one in bodies]))

    @made.delete("/v1/users/{user_id:path}", tags=["events"])
    async def forget(user_id: str) -> Response:
        """Delete all events of a person."""
        return rendered(await service.forget(user_id))

    @made.put("/v1/items/{item_id:path}", tags=["events"])
    async def add(item_id: str, body: ItemBody) -> Response:
        """Add an item that was not there in training, placed by its features."""
        return rendered(await service.add_item(item_id, body.features, body.title))


def _operation(made: APIRouter, service: Service) -> None:
    @made.get("/v1/model", tags=["operation"])
    async def model() -> Response:
        """Tell which version answers, and what it is."""
        return rendered(service.model())

    @made.get("/healthz", tags=["operation"])
    async def healthz() -> Response:
        """Tell that the process answers."""
        return rendered({"status": "ok"})

    @made.get("/readyz", tags=["operation"])
    async def readyz() -> Response:
        """Tell whether the model is loaded and warm: 503 until it is."""
        if not service.ready:
            return rendered({"status": "starting"}, 503)
        return rendered({"status": "ready", "model_version": service.generation.name})

    @made.get("/metrics", tags=["operation"])
    async def metrics() -> Response:
        """Return the counters for Prometheus."""
        return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE})


def rendered(answer: dict[str, Any], status: int = 200) -> Response:
    """Return an answer as JSON; what no JSON can hold, such as half of a pair of characters, is refused."""
    try:
        raw = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise DataError(f"the answer cannot be written as JSON: {error}") from error
    return Response(raw, status, media_type="application/json")


def texts(ids: list[str | int]) -> tuple[str, ...]:
    """Ids as text; whole numbers of more digits than any id has are refused by their length."""
    return tuple(
        one if isinstance(one, str) else (str(one) if abs(one) < 10**LONGEST else "9" * 999) for one in ids
    )
