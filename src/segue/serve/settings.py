"""What a service is told when it starts; workers get it through their environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from segue.errors import SettingError
from segue.models.settings import at_least

VARIABLE = "SEGUE_SERVE"  # the environment variable that carries the settings to workers


@dataclass(frozen=True)
class Limits:
    """What one request, and all together, may ask for.

    Attributes:
        body: bytes of a request's body.
        k: results of one list.
        users: users of one request.
        events: events of one request.
        ids: ids of one list, such as allow, deny or a history.
        concurrency: requests that are worked on at once in a worker; more are told to come again (429).
        deadline: seconds until a request that still waits is given up (503).
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
            raise SettingError(f"deadline={self.deadline} must be a number of seconds above 0")


@dataclass(frozen=True)
class Settings:
    """A service.

    Attributes:
        model: the model folder.
        events: where events are kept: `sqlite:///file` or `postgresql://…`; "" is a SQLite file beside the
            model folder.
        keys: a file of API keys, or None: everybody may do everything.
        cors: origins whose pages may call the service from a browser.
        profile: the kind of profile, a name in `segue.online.PROFILES`, or "auto" for the one that suits
            the model.
        shared: whether other processes write events too, so that each request looks for theirs.
        limits: what may be asked for.
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
        """Where events are kept, the default filled in."""
        if self.events:
            return self.events
        folder = Path(self.model).absolute()
        return f"sqlite:///{folder.with_name(folder.name + '.events.sqlite')}"

    def to_environment(self) -> dict[str, str]:
        """Return the environment variable that `from_environment` reads."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read what the parent process wrote."""
        if VARIABLE not in environment:
            raise SettingError(f"{VARIABLE} is not set; start the service with `segue serve MODEL`")
        given = json.loads(environment[VARIABLE])
        known = {one.name for one in fields(cls)}
        if not isinstance(given, dict) or set(given) - known or "model" not in given:
            raise SettingError(f"{VARIABLE} must be a JSON object of {', '.join(sorted(known))}")
        given["limits"] = Limits(**given.get("limits", {}))
        given["cors"] = tuple(given.get("cors", ()))
        return cls(**given)
