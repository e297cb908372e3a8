"""What a profile remembers, a pick that changes it, and the queries that it is read as."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from segue.errors import SettingError
from segue.kernels.arrays import readonly
from segue.online.space import Space

State = dict[str, np.ndarray]  # arrays of float64; their names are those of the kind of profile
WHOLE = readonly(np.ones(1))
LEAST = 1e-9  # length of a profile below which picks have cancelled out


class Pick(NamedTuple):
    """One event: an item's row, a weight (negative for what was disliked), a time."""

    row: int
    weight: float
    time: float


class Queries(NamedTuple):
    """What to search with.

    Attributes:
        vectors: (m, dim) float32, no row where nothing is known of the person.
        weights: (m,) float64, the share of the results that each is worth; they sum to 1.
    """

    vectors: np.ndarray
    weights: np.ndarray


def step(state: State, time: float) -> tuple[float, float, np.ndarray]:
    """How old the state and a new pick are when both are known, and the time of the later: one age is 0."""
    known = state["time"]
    if not len(known):
        return 0.0, 0.0, np.array([time])
    since = time - float(known[0])
    return (since, 0.0, np.array([time])) if since > 0 else (0.0, -since, known)


def waited(state: State, now: float | None) -> float:
    """The time from the latest pick until now; no time where the clock went back."""
    known = state["time"]
    return 0.0 if now is None or not len(known) else max(0.0, now - float(known[0]))


def one(space: Space, direction: np.ndarray) -> Queries:
    """A single query in a direction, or none where it has no length."""
    length = math.sqrt(direction @ direction)
    if length < LEAST:
        return Queries(np.empty((0, space.items.shape[1]), np.float32), np.empty(0))
    return Queries(space.queries((direction / length)[None]), WHOLE)


def nothing(dim: int) -> State:
    """The arrays of `kept` before the first pick."""
    return {"vectors": np.empty((0, dim)), "weights": np.empty(0), "times": np.empty(0)}


def kept(state: State, vector: np.ndarray, pick: Pick, size: int) -> State:
    """The latest picks in the order of their times, the new one among them; the oldest give way."""
    times = state["times"]
    place = int(np.searchsorted(times, pick.time, side="right"))
    first = max(0, len(times) + 1 - size)
    added = {"vectors": vector, "weights": pick.weight, "times": pick.time}
    made = {}
    for name, value in added.items():
        old = state[name]
        both = np.empty((len(old) + 1, *old.shape[1:]))
        both[:place], both[place], both[place + 1 :] = old[:place], value, old[place:]
        made[name] = both[first:]
    return made


def above(settings: Any, **bounds: float) -> None:
    """Raise `SettingError` for each named field that is no finite number above its bound."""
    for name, bound in bounds.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not bound < value < float("inf"):
            raise SettingError(
                f"{type(settings).__name__}({name}={value!r}) must be a number above {bound:g}, and finite"
            )
