"""Profiles that are averages of the picked items: exponential, by half-life, of the latest picks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from segue.errors import SettingError
from segue.online.profile_state import (
    Pick,
    Queries,
    State,
    ages,
    append_pick,
    check_above,
    elapsed,
    empty_picks,
    single_query,
)
from segue.online.space import Space
from segue.validation import at_least, one_of

DAY = 86_400.0  # seconds


class Average(ABC):
    """Base of all averages: `mean` reads what `move` accumulated; both work with vectors of any space."""

    def item_direction(self, space: Space, row: int) -> np.ndarray:
        """Return the direction (dim,) that represents an item."""
        return space.direction(row)

    @abstractmethod
    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""

    @abstractmethod
    def move(self, state: State, vector: np.ndarray, pick: Pick) -> State:
        """Return the state after a pick with the given vector."""

    @abstractmethod
    def mean(self, state: State, now: float | None) -> np.ndarray:
        """Return the average (dim,), of any length."""

    def add(self, space: Space, state: State, pick: Pick) -> State:
        """Return the state after a pick."""
        return self.move(state, self.item_direction(space, pick.row), pick)

    def read(self, space: Space, state: State, now: float | None) -> Queries:
        """Return the query of the profile at a time."""
        return single_query(space, self.mean(state, now))


@dataclass(frozen=True)
class EMA(Average):
    """Exponential moving average: a pick of weight w moves the profile p to (n p + w v) / (n + |w|).

    v is the direction of the picked item. The first pick becomes the profile unless it started from a
    vector. Times do not matter.

    Attributes:
        n: the number of picks that the profile so far counts as.
    """

    n: float = 8.0

    def __post_init__(self) -> None:
        check_above(self, n=0.0)

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        return {"vector": start}

    def move(self, state: State, vector: np.ndarray, pick: Pick) -> State:
        """Return the state after a pick with the given vector."""
        old, n = state["vector"], self.n
        if (
            not old[0] and not old.any()
        ):  # testing the first value is ten times as fast and nearly always enough
            n = 0.0
        total = n + abs(pick.weight)
        return {"vector": (n / total) * old + (pick.weight / total) * vector}

    def mean(self, state: State, now: float | None) -> np.ndarray:
        """Return the average (dim,), of any length."""
        return state["vector"]


@dataclass(frozen=True)
class HalfLife(Average):
    """A mean in which the weight of a pick halves with every half-life of time.

    p = n p0 + sum of w 2^(-(now - t) / half_life) v over the picks. p0 is the direction that the profile
    started from; it does not decay, so the profile of a user who stays away returns to it. The order of
    arrival does not matter: a late pick counts by its time.

    Attributes:
        half_life: in the unit of the times (seconds for timestamps).
        n: the number of picks that the start counts as.
    """

    half_life: float = 30 * DAY
    n: float = 8.0

    def __post_init__(self) -> None:
        check_above(self, half_life=0.0)
        at_least(self, n=0.0)

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        return {"start": start, "sum": np.zeros_like(start), "time": np.empty(0)}

    def move(self, state: State, vector: np.ndarray, pick: Pick) -> State:
        """Return the state after a pick with the given vector."""
        state_age, pick_age, time = ages(state, pick.time)
        total = self.decay(state_age) * state["sum"] + (self.decay(pick_age) * pick.weight) * vector
        return {"start": state["start"], "sum": total, "time": time}

    def decay(self, age: float) -> float:
        """Return the factor by which an age reduces a weight."""
        return float(0.5 ** (age / self.half_life))

    def mean(self, state: State, now: float | None) -> np.ndarray:
        """Return the average (dim,), of any length."""
        mean: np.ndarray = self.n * state["start"] + self.decay(elapsed(state, now)) * state["sum"]
        return mean


@dataclass(frozen=True)
class Recent(Average):
    """A mean of the latest picks with Gaussian weights: the j-th latest counts exp(-(j / width)² / 2).

    p = n p0 + sum over j of w_j exp(-(j / width)² / 2) v_j. Picks are kept in order of time, and in order of
    arrival within one time. When there are `size` picks, the oldest is dropped.

    Attributes:
        size: the number of picks kept.
        width: the standard deviation of the Gaussian, in picks.
        n: the number of picks that the start counts as.
    """

    size: int = 20
    width: float = 7.0
    n: float = 8.0

    def __post_init__(self) -> None:
        at_least(self, size=1, n=0.0)
        check_above(self, width=0.0)

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        return {"start": start, **empty_picks(len(start))}

    def move(self, state: State, vector: np.ndarray, pick: Pick) -> State:
        """Return the state after a pick with the given vector."""
        return {"start": state["start"], **append_pick(state, vector, pick, self.size)}

    def mean(self, state: State, now: float | None) -> np.ndarray:
        """Return the average (dim,), of any length."""
        ranks = np.arange(len(state["times"]), dtype=np.float64)[::-1]
        shares = state["weights"] * np.exp(-0.5 * (ranks / self.width) ** 2)
        mean: np.ndarray = self.n * state["start"] + shares @ state["vectors"]
        return mean


@dataclass(frozen=True)
class Neighbors(Average):
    """An average of the items nearest to each pick instead of the pick itself.

    Picked items are excluded from recommendations, so their neighbors may say more about what to recommend.

    Attributes:
        how: "next" takes the nearest item, "mean" the mean of the nearest items, "weighted" their mean
            weighted by cosine.
        count: the number of items in the means.
        base: the average that accumulates them: an EMA, a HalfLife or a Recent.
    """

    how: str = "weighted"
    count: int = 10
    base: EMA | HalfLife | Recent = field(default_factory=EMA)

    def __post_init__(self) -> None:
        at_least(self, count=1)
        one_of(self, how=("next", "mean", "weighted"))
        if not isinstance(self.base, (EMA, HalfLife, Recent)):
            raise SettingError(f"Neighbors(base={self.base!r}) must be an EMA, a HalfLife or a Recent")

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        return self.base.begin(space, start)

    def item_direction(self, space: Space, row: int) -> np.ndarray:
        """Return the direction (dim,) that represents an item."""
        direction = space.direction(row)  # raises for a zero vector
        rows, cosines = space.neighbors(row, 1 if self.how == "next" else self.count)
        shares = np.maximum(cosines, 0).astype(np.float64) if self.how == "weighted" else np.ones(len(rows))
        usable = space.known(rows) & (shares > 0)
        if usable.any():
            mean = shares[usable] @ np.array([space.direction(neighbor) for neighbor in rows[usable]])
            length = float(np.sqrt(mean @ mean))
            direction = mean / length if length > 0 else direction
        return direction

    def move(self, state: State, vector: np.ndarray, pick: Pick) -> State:
        """Return the state after a pick with the given vector."""
        return self.base.move(state, vector, pick)

    def mean(self, state: State, now: float | None) -> np.ndarray:
        """Return the average (dim,), of any length."""
        return self.base.mean(state, now)
