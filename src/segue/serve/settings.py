"""Settings of a service; workers receive them through the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from segue.errors import SettingError
from segue.validation import at_least

VARIABLE = "SEGUE_SERVE"  # environment variable that passes the settings to workers


@dataclass(frozen=True)
class Limits:
    """Limits of requests.

    Attributes:
        body: bytes of a request body.
        k: items of a list.
        users: users of one request.
        events: events of one request.
        ids: ids in one field, such as allow, exclude or history.
        concurrency: requests in progress in a worker; further ones get status 429.
        deadline: seconds until a waiting request fails with status 503.
    """

    body: int = 1 << 20
    k: int = 1000
    users: int = 1000
    events: int = 1000
    ids: int = 10_000
    concurrency: int = 512
    deadline: float = 10.0

    def __post_init__(self) -> None:
        at_least(self, body=1, k=1, users=1, events=1, ids=1, concurrency=1)
        if not 0 < self.deadline < float("inf"):
            raise SettingError(
                f"deadline={self.deadline} must be a number of seconds above 0", arguments=("deadline",)
            )


@dataclass(frozen=True)
class Settings:
    """Settings of a service.

    Attributes:
        model: the model folder.
        events: the URL of the event store, `sqlite:///file` or `postgresql://…`; "" for a SQLite file beside
            the model folder.
        keys: a file of API keys, or None for a service without authentication.
        cors: origins from which browsers may call the service.
        profile: the kind of profile, a name in `segue.online.PROFILES`, or "auto" for the default of the
            model.
        shared: whether each request first checks for events that other processes have written.
        limits: the limits of requests.
    """

    model: str
    events: str = ""
    keys: str | None = None
    cors: tuple[str, ...] = ()
    profile: str = "auto"
    shared: bool = False
    limits: Limits = field(default_factory=Limits)

    @property
    def events_url(self) -> str:
        """The URL of the event store, with the default filled in."""
        if self.events:
            return self.events
        folder = Path(self.model).absolute()
        return f"sqlite:///{folder.with_name(folder.name + '.events.sqlite')}"

    def to_environment(self) -> dict[str, str]:
        """Return the environment variable that `from_environment` reads."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Return the settings that the parent process passed on."""
        if VARIABLE not in environment:
            raise SettingError(f"{VARIABLE} is not set; start the service with `segue serve MODEL`")
        values = json.loads(environment[VARIABLE])
        names = {setting.name for setting in fields(cls)}
        if not isinstance(values, dict) or set(values) - names or "model" not in values:
            raise SettingError(f"{VARIABLE} must be a JSON object of {', '.join(sorted(names))}")
        values["limits"] = Limits(**values.get("limits", {}))
        values["cors"] = tuple(values.get("cors", ()))
        return cls(**values)
