"""The requests of the API: parameters and bodies, as OpenAPI documents them, and their validation."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
)

from segue.errors import DataError, SettingError
from segue.online.exploration import EXPLORERS
from segue.recommender.options import ListOptions
from segue.serve.events.base import KINDS, Event
from segue.serve.events.validation import MAX_ID_LENGTH, check_id, new_event
from segue.serve.settings import Limits

MAX_SEED = 2**31
OPTIONS = ("allow", "exclude", "where", "exclude_seen", "explore", "diversify", "explain", "seed")
IdField = Annotated[StrictStr | StrictInt, Field(examples=["42"], description="text or a whole number")]
Number = StrictFloat | StrictInt
WHERE = "conditions on the item metadata that all must hold, such as genres=Drama or year>=1990"
EXPLORE = f"an exploration: {', '.join(sorted(EXPLORERS))}; with a value: gumbel:0.5"
DIVERSIFY = "a diversification: dpp, mmr; with a value: mmr:0.5, from 0 (best items) to 1 (most diverse)"
SEED = "random seed of the exploration; random by default, and returned with the list"
EXPLAIN = "whether each item carries the reasons for its score"
EXCLUDE_SEEN = "whether to exclude the items that the user already interacted with"
ALLOW, EXCLUDE = "the only items that the list may contain", "items that the list must not contain"


class FilterParameters(BaseModel):
    """Query parameters: which items a list may contain."""

    k: int = Field(10, ge=1, le=1_000_000, description="the number of items")
    where: list[str] = Field(default_factory=list, description=f"{WHERE}; repeatable")


class ItemParameters(FilterParameters):
    """Query parameters: which items a list may contain, by id, too."""

    allow: list[str] | None = Field(None, description=f"{ALLOW}; repeatable")
    exclude: list[str] = Field(default_factory=list, description=f"{EXCLUDE}; repeatable")


class PanelParameters(ItemParameters):
    """Query parameters of several lists for one user."""

    explain: bool = Field(False, description=EXPLAIN)


class ListParameters(PanelParameters):
    """Query parameters of a list: the fields of `segue.recommender.options.ListOptions`."""

    exclude_seen: bool = Field(True, description=EXCLUDE_SEEN)
    explore: str | None = Field(None, description=EXPLORE)
    diversify: str | None = Field(None, description=DIVERSIFY)
    seed: int | None = Field(None, ge=0, lt=MAX_SEED, description=SEED)


class Body(BaseModel):
    """A request body; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class ListBody(Body):
    """A list for several users, or for an untrained user by a history, a vector or features."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"users": ["1", "2"], "k": 5},
                {"history": ["318", "296"], "k": 5, "where": ["genres=Drama"]},
            ]
        },
    )

    users: list[IdField] | None = Field(None, description="several users")
    history: list[IdField] | dict[str, Number] | None = Field(
        None, description="items of an untrained user, or a mapping of items to weights (ratings)"
    )
    vector: list[Number] | None = Field(None, description="a vector of the model's space")
    features: dict[str, JsonValue] | None = Field(
        None, description="features of an untrained user: a value for each column of the training's features"
    )
    k: StrictInt = Field(10, ge=1, description="the number of items")
    allow: list[IdField] | None = Field(None, description=ALLOW)
    exclude: list[IdField] = Field(default_factory=list, description=EXCLUDE)
    where: list[StrictStr] = Field(default_factory=list, description=WHERE)
    exclude_seen: StrictBool = Field(True, description=EXCLUDE_SEEN)
    explore: StrictStr | None = Field(None, description=EXPLORE)
    diversify: StrictStr | None = Field(None, description=DIVERSIFY)
    explain: StrictBool = Field(False, description=EXPLAIN)
    seed: StrictInt | None = Field(None, ge=0, lt=MAX_SEED, description=SEED)


class ItemBody(Body):
    """A new item."""

    features: dict[str, JsonValue] = Field(
        description="a value for each column of the item features that the model was trained with",
        examples=[{"genres": "Drama", "year": 1999}],
    )
    title: StrictStr | None = Field(None, max_length=1000)


class EventBody(Body):
    """What a user did with an item."""

    user_id: IdField
    item_id: IdField
    kind: str = Field("like", examples=["like"], description=", ".join(KINDS))
    weight: Number | None = Field(
        None, description="how far the event moves the profile; by default the weight of the kind"
    )
    time: Number | StrictStr | None = Field(
        None, description="seconds since 1970, or ISO 8601; by default now", examples=[1_790_000_000]
    )
    key: StrictStr | None = Field(
        None,
        description="idempotency key: a repeated event is not counted again",
        examples=["order-7-line-1"],
    )

    def to_event(self) -> Event:
        """Return the validated event, or raise `DataError`."""
        weight = None if self.weight is None else to_float(self.weight)
        time = to_seconds(self.time)
        return new_event(str(self.user_id), str(self.item_id), self.kind, weight, time, self.key)


_ONE_EVENT, _MANY_EVENTS = TypeAdapter(EventBody), TypeAdapter(list[EventBody])


def parse_events(body: bytes) -> list[EventBody]:
    """Return the events of a JSON body, one object or a list; raises `pydantic.ValidationError`."""
    if body[:1] == b"[":
        return _MANY_EVENTS.validate_json(body)
    return [_ONE_EVENT.validate_json(body)]


def list_options(parameters: FilterParameters | ListBody, limits: Limits) -> ListOptions:
    """Return validated list options; raises `SettingError` for values out of range or above the limits."""
    values = {name: getattr(parameters, name) for name in OPTIONS if name in type(parameters).model_fields}
    k, seed = parameters.k, values.pop("seed", None)
    if not 1 <= k <= limits.k:
        raise SettingError(f"k={k} must be 1 to {limits.k:,}")
    for name in ("allow", "exclude"):
        if values.get(name) is not None:
            values[name] = to_texts(values[name])
            check_ids(values[name], name, limits)
    values["where"] = tuple(values["where"])
    return ListOptions(k=k, seed=secrets.randbits(31) if seed is None else seed, **values)


def check_ids(ids: Sequence[str], name: str, limits: Limits) -> None:
    """Raise an error for a field with too many ids or with an invalid one."""
    if len(ids) > limits.ids:
        raise SettingError(f"{name} has {len(ids):,} ids; the limit is {limits.ids:,}")
    for item_id in ids:
        check_id(item_id, name)


def to_texts(ids: Sequence[str | int]) -> tuple[str, ...]:
    """Return ids as text; a number with more digits than an id may have becomes a text that is too long."""
    return tuple(
        value if isinstance(value, str) else (str(value) if abs(value) < 10**MAX_ID_LENGTH else "9" * 999)
        for value in ids
    )


def to_float(value: float) -> float:
    """Return a number of any size as a float; integers that are too large become infinite."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def to_seconds(time: float | str | None) -> float | None:
    """Return a time in seconds since 1970; raises `DataError` for a text that is not ISO 8601."""
    if time is None:
        return None
    if not isinstance(time, str):
        return to_float(time)
    try:
        parsed = datetime.fromisoformat(time.replace("Z", "+00:00"))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise DataError(f"the time {time[:64]!r} is neither seconds since 1970 nor ISO 8601") from None
