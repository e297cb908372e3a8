"""The state of a profile, the picks that change it, and the queries it is read as."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from segue.errors import SettingError
from segue.kernels.arrays import readonly
from segue.online.space import Space

State = dict[str, np.ndarray]  # float64 arrays; each kind of profile has its own names
FULL_WEIGHT = readonly(np.ones(1))
MIN_LENGTH = 1e-9  # a shorter profile counts as zero: its picks cancel each other


class Pick(NamedTuple):
    """One event: an item row, a weight (negative for a dislike), a time."""

    row: int
    weight: float
    time: float


class Queries(NamedTuple):
    """The queries that a profile stands for.

    Attributes:
        vectors: (m, dim) float32; no rows if nothing is known of the user.
        weights: (m,) float64, the share of the list that each query gets; they sum to 1.
    """

    vectors: np.ndarray
    weights: np.ndarray


def ages(state: State, time: float) -> tuple[float, float, np.ndarray]:
    """Return the ages of the state and of a new pick at the later of their times, and that time (1,).

    One of the ages is 0.
    """
    last = state["time"]
    if not len(last):
        return 0.0, 0.0, np.array([time])
    since = time - float(last[0])
    return (since, 0.0, np.array([time])) if since > 0 else (0.0, -since, last)


def elapsed(state: State, now: float | None) -> float:
    """Return the time since the latest pick; 0 if `now` is None or earlier."""
    last = state["time"]
    return 0.0 if now is None or not len(last) else max(0.0, now - float(last[0]))


def no_queries(space: Space) -> Queries:
    """Return the queries of a profile that knows nothing."""
    return Queries(np.empty((0, space.items.shape[1]), np.float32), np.empty(0))


def single_query(space: Space, direction: np.ndarray) -> Queries:
    """Return one query in a direction (dim,), or none if its length is about zero."""
    length = math.sqrt(direction @ direction)
    if length < MIN_LENGTH:
        return no_queries(space)
    return Queries(space.queries((direction / length)[None]), FULL_WEIGHT)


def empty_picks(dim: int) -> State:
    """Return the arrays of `append_pick` before the first pick."""
    return {"vectors": np.empty((0, dim)), "weights": np.empty(0), "times": np.empty(0)}


def append_pick(state: State, vector: np.ndarray, pick: Pick, size: int) -> State:
    """Insert a pick into the picks in order of time and return the latest `size` of them."""
    times = state["times"]
    place = int(np.searchsorted(times, pick.time, side="right"))
    first = max(0, len(times) + 1 - size)
    values = {"vectors": vector, "weights": pick.weight, "times": pick.time}
    picks = {}
    for name, value in values.items():
        old = state[name]
        grown = np.empty((len(old) + 1, *old.shape[1:]))
        grown[:place], grown[place], grown[place + 1 :] = old[:place], value, old[place:]
        picks[name] = grown[first:]
    return picks


def check_above(settings: object, **bounds: float) -> None:
    """Raise `SettingError` for each named field that is not a finite number above its bound."""
    for name, bound in bounds.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not bound < value < float("inf"):
            raise SettingError(
                f"{type(settings).__name__}({name}={value!r}) must be a finite number above {bound:g}"
            )
