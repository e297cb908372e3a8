"""The bodies and answers of the API, as OpenAPI describes them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from segue.serve.events.base import KINDS, Event, event

Id = Annotated[StrictStr | StrictInt, Field(examples=["42"], description="text, or a whole number")]
Number = StrictFloat | StrictInt


class Body(BaseModel):
    """A body, in which only what is named may stand."""

    model_config = ConfigDict(extra="forbid")


class EventBody(Body):
    """What a person did with an item."""

    user_id: Id
    item_id: Id
    kind: str = Field("like", examples=["like"], description=", ".join(KINDS))
    weight: Number | None = Field(None, description="how far it moves the profile; by kind where left out")
    time: Number | StrictStr | None = Field(
        None, description="seconds since 1970, or ISO 8601; now where left out", examples=[1_790_000_000]
    )
    key: StrictStr | None = Field(
        None, description="your name for it: sent again, it is not counted again", examples=["order-7-line-1"]
    )

    def checked(self) -> Event:
        """Return the event, or raise `DataError`."""
        weight = None if self.weight is None else as_float(self.weight)
        return event(str(self.user_id), str(self.item_id), self.kind, weight, seconds(self.time), self.key)


class ListBody(Body):
    """For whom a list is wanted, one of users, history, vector, features; and how it is to be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"users": ["1", "2"], "k": 5},
                {"history": ["318", "296"], "k": 5, "where": ["genres=Drama"]},
            ]
        },
    )

    users: list[Id] | None = Field(None, description="many users at once")
    history: list[Id] | dict[str, Number] | None = Field(
        None, description="somebody new: what they had, or a mapping of items to weights"
    )
    vector: list[Number] | None = Field(None, description="a vector of the model's own space")
    features: dict[str, Any] | None = Field(
        None, description="somebody new: the columns of the user features that the model was trained with"
    )
    k: StrictInt = Field(10, ge=1)
    allow: list[Id] | None = Field(None, description="the only items that may be given")
    deny: list[Id] = Field(default_factory=list, description="items that may not")
    where: list[StrictStr] = Field(default_factory=list, description="such as genres=Drama, year>=1990")
    exclude_seen: StrictBool = Field(True, description="leave out what the person had")
    explore: StrictStr | None = Field(None, description="an exploration, such as gumbel or gumbel:0.5")
    diversity: Number = Field(0.0, ge=0, le=1, description="0: the best; 1: as unlike as can be")
    seed: StrictInt | None = Field(None, ge=0, lt=2**31, description="of the exploration; told with the list")
    why: StrictBool = Field(False, description="tell what each item owes its score to")


class ItemBody(Body):
    """What is known of a new item."""

    features: dict[str, Any] = Field(
        description="the columns of the item features that the model was trained with",
        examples=[{"genres": "Drama", "year": 1999}],
    )
    title: StrictStr | None = Field(None, max_length=1000)


class Reason(BaseModel):
    """What adds to a score: a pick, or the rest, which is nobody's."""

    reason: str
    share: float
    item_id: str | int | None = None
    title: str | None = None


class Explored(BaseModel):
    """How a list was left to chance."""

    by: str
    seed: int


class Listed(BaseModel):
    """An item of a list."""

    item_id: str | int
    score: float
    rank: int
    title: str | None
    propensity: float | None = Field(
        None, description="the probability to be in the list, where it was explored"
    )
    why: list[Reason] | None = Field(None, description="shares that add up to the score, where asked for")


class ListAnswer(BaseModel):
    """A list, the version of the model that made it, and what it was made from."""

    model_version: str
    source: str = Field(
        description="profile: what the person did since training; trained: their vector; history, features, "
        "vector: as asked; popular: nothing is known of them"
    )
    items: list[Listed]
    explored: Explored | None = None


class UserList(BaseModel):
    """A list of one of many users."""

    user_id: str
    model_version: str
    source: str
    items: list[Listed]


class ManyAnswer(BaseModel):
    """Lists of many users, all of one version."""

    model_version: str
    users: list[UserList]


class ItemsAnswer(BaseModel):
    """Items that were found."""

    model_version: str
    items: list[Listed]


class EventsAnswer(BaseModel):
    """How many events were new; those of unknown items are kept, and count once a model knows the items."""

    model_version: str
    accepted: int
    duplicates: int
    unknown_items: list[str]


class Problem(BaseModel):
    """What is wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def as_float(value: float) -> float:
    """A float of a number of any size: integers that are too large become infinite."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def seconds(when: float | str | None) -> float | None:
    """Seconds since 1970; what cannot be read is a `DataError`."""
    from segue.errors import DataError

    if when is None:
        return None
    if not isinstance(when, str):
        return as_float(when)
    try:
        made = datetime.fromisoformat(when.replace("Z", "+00:00"))
        return (made if made.tzinfo else made.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise DataError(f"the time {when[:64]!r} is neither seconds since 1970 nor ISO 8601") from None
