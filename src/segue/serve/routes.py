"""The routes of the API: each validates a request, calls the service, and renders the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response

from segue.data.ids import Id
from segue.errors import DataError, SettingError
from segue.serve.events.validation import check_id
from segue.serve.metrics import CONTENT_TYPE
from segue.serve.payloads import (
    EventsPayload,
    FacetsPayload,
    ForgetPayload,
    ItemsPayload,
    ListPayload,
    MapPayload,
    ModelPayload,
    PanelsPayload,
    ProblemPayload,
    SimilarPayload,
    UserListsPayload,
    UserPayload,
)
from segue.serve.schemas import (
    EventBody,
    FilterParameters,
    ItemBody,
    ItemParameters,
    ListBody,
    ListParameters,
    PanelParameters,
    check_ids,
    list_options,
    to_float,
    to_texts,
)
from segue.serve.service.service import Service

Responses = dict[int | str, dict[str, Any]]  # as FastAPI takes them
PROBLEMS: Responses = {
    status: {
        "model": ProblemPayload,
        "description": description,
        "content": {"application/problem+json": {}},
    }
    for status, description in (
        (400, "The body is not valid JSON."),
        (401, "The API key is missing or unknown."),
        (403, "The API key lacks the required scope."),
        (404, "There is no such item."),
        (413, "The body is too large."),
        (422, "Validation failed."),
        (429, "Too many requests; try again later."),
        (503, "Temporarily unavailable; try again later."),
    )
}


def api_router(service: Service) -> APIRouter:
    """Return the routes of a service."""
    router = APIRouter(responses=PROBLEMS)
    _add_lists(router, service)
    _add_items(router, service)
    _add_users(router, service)
    _add_operations(router, service)
    return router


def _returns(payload: object) -> Responses:
    return {200: {"model": payload}}


def _add_lists(router: APIRouter, service: Service) -> None:
    limits = service.limits

    @router.get("/v1/recommend/{user_id:path}", responses=_returns(ListPayload), tags=["lists"])
    async def recommend(user_id: str, parameters: Annotated[ListParameters, Query()]) -> Response:
        """Recommend items to a user.

        By events since training, else by the trained vector, else the most popular items.
        """
        options = list_options(parameters, limits)
        return json_response(await service.lists.for_user(check_id(user_id, "user_id"), options))

    @router.get("/v1/panels/{user_id:path}", responses=_returns(PanelsPayload), tags=["lists"])
    async def panels(user_id: str, parameters: Annotated[PanelParameters, Query()]) -> Response:
        """Recommend items to a user in four ways: best, with noise, from buckets, diversified."""
        options = list_options(parameters, limits)
        return json_response(await service.lists.panels(check_id(user_id, "user_id"), options))

    @router.post("/v1/recommend", responses=_returns(ListPayload | UserListsPayload), tags=["lists"])
    async def recommend_for(body: ListBody) -> Response:
        """Recommend items to several users, or to an untrained user by a history, a vector or features."""
        return json_response(await _recommend_for(service, body))

    @router.get("/v1/similar/{item_id:path}", responses=_returns(SimilarPayload), tags=["lists"])
    async def similar(item_id: str, parameters: Annotated[ItemParameters, Query()]) -> Response:
        """Find the items nearest to an item."""
        return json_response(await service.items.similar(item_id, list_options(parameters, limits)))

    @router.get("/v1/search", responses=_returns(ItemsPayload), tags=["lists"])
    async def search(
        q: Annotated[str, Query(min_length=1, max_length=1000, description="words to search for")],
        k: Annotated[int, Query(ge=1, le=1_000_000, description="the number of items")] = 10,
        where: Annotated[list[str] | None, Query(description="conditions on the item metadata")] = None,
    ) -> Response:
        """Find items by text, or by title if the model was fit without text."""
        options = list_options(FilterParameters(k=k, where=where or []), limits)
        return json_response(await service.items.search(q, options))


async def _recommend_for(service: Service, body: ListBody) -> ListPayload | UserListsPayload:
    limits, lists = service.limits, service.lists
    options = list_options(body, limits)
    sources = ("users", "history", "vector", "features")
    present = [name for name in sources if getattr(body, name) is not None]
    if len(present) != 1:
        raise SettingError(
            f"the body has {' and '.join(present) or 'none'} of users, history, vector, features; give one"
        )
    if body.users is not None:
        users = to_texts(body.users)
        if len(users) > limits.users:
            raise SettingError(f"the request has {len(users):,} users; the limit is {limits.users:,}")
        return await lists.for_users([check_id(user_id, "users") for user_id in users], options)
    if body.history is not None:
        ids = tuple(body.history) if isinstance(body.history, dict) else to_texts(body.history)
        check_ids(ids, "history", limits)
        if not isinstance(body.history, dict):
            return await lists.for_history(ids, options)
        weights: dict[Id, float] = {item_id: to_float(weight) for item_id, weight in body.history.items()}
        return await lists.for_history(weights, options)
    if body.vector is not None:
        return await lists.for_vector([to_float(number) for number in body.vector], options)
    return await lists.for_features(body.features or {}, options)


def _add_items(router: APIRouter, service: Service) -> None:
    @router.get("/v1/items/{item_id:path}", tags=["items"])
    async def item(item_id: str) -> Response:
        """Return the metadata of an item."""
        return json_response(service.items.describe(item_id))

    @router.put("/v1/items/{item_id:path}", tags=["items"])
    async def add_item(item_id: str, body: ItemBody) -> Response:
        """Add an item that is not in the training data; its features place it in the model."""
        return json_response(await service.items.add(item_id, body.features, body.title))

    @router.get("/v1/map", responses=_returns(MapPayload), tags=["items"])
    async def item_map(
        limit: Annotated[int, Query(ge=1, le=20_000, description="the number of items")] = 2000,
    ) -> Response:
        """Return the items with the most users, in two dimensions."""
        return json_response(await service.items.map(limit))

    @router.get("/v1/facets", responses=_returns(FacetsPayload), tags=["items"])
    async def facets() -> Response:
        """Return the columns that `where` can filter by, with their ranges or most common values."""
        return json_response(await service.items.facets())


def _add_users(router: APIRouter, service: Service) -> None:
    @router.post("/v1/events", responses=_returns(EventsPayload), tags=["users and events"])
    async def events(body: EventBody | list[EventBody]) -> Response:
        """Store one event or several: all of them, or none if one is invalid.

        The response is sent when the events are durable and have updated the profiles.
        """
        bodies = body if isinstance(body, list) else [body]
        limit = service.limits.events
        if len(bodies) > limit:
            raise SettingError(f"the request has {len(bodies):,} events; the limit is {limit:,}")
        return json_response(await service.users.add_events([event.to_event() for event in bodies]))

    @router.get("/v1/users/{user_id:path}", responses=_returns(UserPayload), tags=["users and events"])
    async def user(
        user_id: str,
        limit: Annotated[int, Query(ge=0, le=1000, description="the number of latest events")] = 100,
    ) -> Response:
        """Return what the service knows of a user: their latest events, and their positions on the map."""
        return json_response(await service.users.describe(user_id, limit))

    @router.delete("/v1/users/{user_id:path}", responses=_returns(ForgetPayload), tags=["users and events"])
    async def forget(user_id: str) -> Response:
        """Delete all events of a user."""
        return json_response(await service.users.forget(user_id))


def _add_operations(router: APIRouter, service: Service) -> None:
    @router.get("/v1/model", responses=_returns(ModelPayload), tags=["operation"])
    async def model() -> Response:
        """Return the model version that is served, and its settings."""
        return json_response(service.describe())

    @router.get("/healthz", tags=["operation"])
    async def healthz() -> Response:
        """Return 200 if the process is alive."""
        return json_response({"status": "ok"})

    @router.get("/readyz", tags=["operation"])
    async def readyz() -> Response:
        """Return 200 when the model is loaded and warm, 503 before."""
        if not service.ready:
            return json_response({"status": "starting"}, 503)
        return json_response({"status": "ready", "model_version": service.versions.active.name})

    @router.get("/metrics", tags=["operation"])
    async def metrics() -> Response:
        """Return the metrics in the text format of Prometheus."""
        return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE})


def json_response(payload: Mapping[str, object], status: int = 200) -> Response:
    """Return a payload as JSON; raises `DataError` for text that JSON cannot represent."""
    try:
        body = orjson.dumps(payload, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise DataError(f"the response cannot be written as JSON: {error}") from error
    return Response(body, status, media_type="application/json")
