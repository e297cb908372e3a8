"""The responses of the API, as typed dictionaries that OpenAPI documents."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from segue.data.ids import Id


class ReasonPayload(TypedDict):
    """One part of an item's score."""

    reason: Annotated[
        str,
        Field(
            description="pick: an item of the user; feature: a feature of the item; other: the sum of all "
            "smaller parts; remainder: the unattributed remainder"
        ),
    ]
    value: Annotated[Id | None, Field(description="the id of the pick, or the feature, such as genres=Drama")]
    title: Annotated[str | None, Field(description="the title of the pick")]
    share: Annotated[float, Field(description="what it adds to the score")]


class ListedItem(TypedDict):
    """An item of a list."""

    item_id: Id
    score: float
    rank: Annotated[int, Field(description="1 for the best item")]
    title: str | None
    propensity: NotRequired[
        Annotated[float, Field(description="with explore: the probability of the item to be in the list")]
    ]
    reasons: NotRequired[
        Annotated[list[ReasonPayload], Field(description="with explain: shares that add up to the score")]
    ]


class ExplorationPayload(TypedDict):
    """How a list was explored."""

    settings: str
    seed: Annotated[int, Field(description="the random seed; the same seed gives the same list")]


class ListPayload(TypedDict):
    """A list, the model version that made it, and what it is based on."""

    model_version: str
    source: Annotated[
        str,
        Field(
            description="profile: events since training; trained: the trained vector of the user; history, "
            "features, vector: what the request contains; popular: nothing is known of the user"
        ),
    ]
    items: list[ListedItem]
    exploration: NotRequired[Annotated[ExplorationPayload, Field(description="with explore")]]


class UserListPayload(ListPayload):
    """The list of one of several users."""

    user_id: str


class UserListsPayload(TypedDict):
    """The lists of several users, all from one model version."""

    model_version: str
    users: list[UserListPayload]


class PanelsPayload(TypedDict):
    """Four lists for one user."""

    model_version: str
    user_id: str
    recommendations: ListPayload
    noise: ListPayload
    buckets: ListPayload
    diverse: ListPayload


class ItemsPayload(TypedDict):
    """Items that match, best first."""

    model_version: str
    items: list[ListedItem]


class SimilarPayload(ItemsPayload):
    """The items nearest to an item."""

    item_id: Id


class EventsPayload(TypedDict):
    """How many events are new. Events of unknown items are stored and count once a model knows the items."""

    model_version: str
    accepted: int
    duplicates: Annotated[int, Field(description="events whose user already has an event with the same key")]
    unknown_items: Annotated[list[str], Field(description="the first item ids that the model does not know")]


class ForgetPayload(TypedDict):
    """How many events of a user were deleted."""

    user_id: str
    events_deleted: int


class UserEventPayload(TypedDict):
    """An event of a user."""

    item_id: Id
    title: str | None
    kind: str
    weight: float
    time: float
    position: Annotated[list[float] | None, Field(description="x and y of the item on the map")]


class UserPayload(TypedDict):
    """What the service knows of a user."""

    model_version: str
    user_id: str
    source: Annotated[str, Field(description="what their recommendations are based on, as in lists")]
    trained: Annotated[bool, Field(description="whether the user is in the training data")]
    trained_items: Annotated[int, Field(description="the number of their items in the training data")]
    events: Annotated[list[UserEventPayload], Field(description="their latest events, oldest first")]
    path: Annotated[
        list[list[float] | None],
        Field(description="positions of the profile on the map, before the first event and after each"),
    ]


class MapItem(TypedDict):
    """An item on the map."""

    item_id: Id
    title: str | None
    x: float
    y: float
    users: Annotated[int, Field(description="the number of its users in the training data")]


class MapPayload(TypedDict):
    """The items with the most users, in two dimensions."""

    model_version: str
    items: list[MapItem]


class FacetValue(TypedDict):
    """A value of a text column, and the number of items with it."""

    value: str
    items: int


class Facet(TypedDict):
    """A column of the item metadata that `where` can filter by."""

    column: str
    kind: Annotated[str, Field(description="number or text")]
    min: NotRequired[float]
    max: NotRequired[float]
    values: NotRequired[Annotated[list[FacetValue], Field(description="the most common values")]]
    more: NotRequired[Annotated[int, Field(description="the number of further values")]]


class FacetsPayload(TypedDict):
    """What the items can be filtered by."""

    model_version: str
    facets: list[Facet]


class MeasuredIndexPayload(TypedDict):
    """An index that `auto` measured before it chose one."""

    index: str
    settings: str
    items: int
    effort: int | None
    recall: float
    us: Annotated[float, Field(description="microseconds per query")]
    build_s: Annotated[float | None, Field(description="seconds to build the index")]
    bytes: int
    reached: Annotated[bool, Field(description="whether the recall reached the target")]


class ModelPayload(TypedDict):
    """The model version that is served, and its settings."""

    model_version: str
    model: str
    index: Annotated[str, Field(description="the index settings of the model")]
    index_chosen: Annotated[str, Field(description="the settings of the index that is used")]
    index_measured: list[MeasuredIndexPayload]
    profile: Annotated[str, Field(description="the settings of the profile that events update")]
    users: int
    items: int
    interactions: int
    dim: int
    columns: Annotated[list[str], Field(description="the columns of the item metadata")]
    metrics: Annotated[dict[str, float], Field(description="the evaluation stored with the model")]
    users_with_events: int
    refused_version: Annotated[str | None, Field(description="a newer version that cannot be served")]


class ProblemPayload(TypedDict):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
