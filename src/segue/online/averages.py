"""Profiles that are averages of what was picked: moving, fading with time, of the recent ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segue.errors import SettingError
from segue.models.settings import at_least, one_of
from segue.online.profile_state import Pick, Queries, State, above, kept, nothing, one, step, waited
from segue.online.space import Space

DAY = 86_400.0  # seconds


class Average(ABC):
    """What all averages share: `mean` of what `move` took in; both work with vectors of any space."""

    def towards(self, space: Space, row: int) -> np.ndarray:
        """Return the direction (dim,) that stands for an item."""
        return space.direction(row)

    @abstractmethod
    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""

    @abstractmethod
    def move(self, state: State, vector: np.ndarray, pick: Pick) -> State:
        """Return the state after a pick whose vector is given."""

    @abstractmethod
    def mean(self, state: State, now: float | None) -> np.ndarray:
        """Return the average (dim,), of any length."""

    def add(self, space: Space, state: State, pick: Pick) -> State:
        """Return the state after a pick."""
        return self.move(state, self.towards(space, pick.row), pick)

    def read(self, space: Space, state: State, now: float | None) -> Queries:
        """Return what to search with."""
        return one(space, self.mean(state, now))


@dataclass(frozen=True)
class EMA(Average):
    """Exponential moving average: the profile p becomes (n p + w v) / (n + |w|) at a pick of weight w.

    v is the direction of the picked item. The first pick is the profile, unless one was started from.
    Times do not matter.

    Attributes:
        n: the picks that the profile so far counts as.
    """

    n: float = 8.0

    def __post_init__(self) -> None:
        above(self, n=0.0)

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        return {"vector": start}

    def move(self, state: State, vector: np.ndarray, pick: Pick) -> State:
        """Return the state after a pick whose vector is given."""
        old, n = state["vector"], self.n
        if not old[0] and not old.any():  # the first value tells nearly always, in a tenth of the time
            n = 0.0
        total = n + abs(pick.weight)
        return {"vector": (n / total) * old + (pick.weight / total) * vector}

    def mean(self, state: State, now: float | None) -> np.ndarray:
        """Return the average (dim,), of any length."""
        return state["vector"]


@dataclass(frozen=True)
class HalfLife(Average):
    """A mean in which a pick counts half as much after every half-life of real time.

    p = n p0 + sum of w 2^(-(now - t) / half_life) v over the picks, where p0 is the direction that was
    started from: it does not fade, so that a person who stays away is again who they were in training.
    The order in which picks arrive does not matter; late ones count by when they happened.

    Attributes:
        half_life: in the unit of the times: seconds where they are timestamps.
        n: the picks that the start counts as.
    """

    half_life: float = 30 * DAY
    n: float = 8.0

    def __post_init__(self) -> None:
        above(self, half_life=0.0)
        at_least(self, n=0.0)

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        return {"start": start, "sum": np.zeros_like(start), "time": np.empty(0)}

    def move(self, state: State, vector: np.ndarray, pick: Pick) -> State:
        """Return the state after a pick whose vector is given."""
        old, new, time = step(state, pick.time)
        total = self.faded(old) * state["sum"] + (self.faded(new) * pick.weight) * vector
        return {"start": state["start"], "sum": total, "time": time}

    def faded(self, age: float) -> float:
        """What is left of 1 after a time."""
        return float(0.5 ** (age / self.half_life))

    def mean(self, state: State, now: float | None) -> np.ndarray:
        """Return the average (dim,), of any length."""
        made: np.ndarray = self.n * state["start"] + self.faded(waited(state, now)) * state["sum"]
        return made


@dataclass(frozen=True)
class Recent(Average):
    """A mean of the latest picks, weighted by a gaussian: the j-th latest counts exp(-(j / width)² / 2).

    p = n p0 + sum over j of w_j exp(-(j / width)² / 2) v_j. The picks are kept in the order of their times,
    those of one time as they came; one that is older than all, where there is no room, is forgotten.

    Attributes:
        size: the picks that are kept.
        width: of the gaussian, in picks.
        n: the picks that the start counts as.
    """

    size: int = 20
    width: float = 7.0
    n: float = 8.0

    def __post_init__(self) -> None:
        at_least(self, size=1, n=0.0)
        above(self, width=0.0)

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        return {"start": start, **nothing(len(start))}

    def move(self, state: State, vector: np.ndarray, pick: Pick) -> State:
        """Return the state after a pick whose vector is given."""
        return {"start": state["start"], **kept(state, vector, pick, self.size)}

    def mean(self, state: State, now: float | None) -> np.ndarray:
        """Return the average (dim,), of any length."""
        places = np.arange(len(state["times"]), dtype=np.float64)[::-1]
        shares = state["weights"] * np.exp(-0.5 * (places / self.width) ** 2)
        made: np.ndarray = self.n * state["start"] + shares @ state["vectors"]
        return made


@dataclass(frozen=True)
class Neighbors(Average):
    """The items nearest to a pick instead of the pick itself, in another kind of average.

    What one has seen is left out of what one gets, so what lies around it may tell more than itself.

    Attributes:
        how: "next" takes the one nearest item, "mean" the mean of the nearest, "weighted" their mean by
            cosine.
        count: how many the means are of.
        base: the average that takes them in.
    """

    how: str = "weighted"
    count: int = 10
    base: Any = field(default_factory=EMA)

    def __post_init__(self) -> None:
        at_least(self, count=1)
        one_of(self, how=("next", "mean", "weighted"))
        if not isinstance(self.base, (EMA, HalfLife, Recent)):
            raise SettingError(f"Neighbors(base={self.base!r}) must be an EMA, a HalfLife or a Recent")

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        return self.base.begin(space, start)  # type: ignore[no-any-return]

    def towards(self, space: Space, row: int) -> np.ndarray:
        """Return the direction (dim,) that stands for an item."""
        direction = space.direction(row)  # refuses a zero vector
        rows, cosines = space.neighbors(row, 1 if self.how == "next" else self.count)
        shares = np.maximum(cosines, 0).astype(np.float64) if self.how == "weighted" else np.ones(len(rows))
        known = space.known(rows) & (shares > 0)
        if known.any():
            mean = shares[known] @ np.array([space.direction(near) for near in rows[known]])
            length = float(np.sqrt(mean @ mean))
            direction = mean / length if length > 0 else direction
        return direction

    def move(self, state: State, vector: np.ndarray, pick: Pick) -> State:
        """Return the state after a pick whose vector is given."""
        return self.base.move(state, vector, pick)  # type: ignore[no-any-return]

    def mean(self, state: State, now: float | None) -> np.ndarray:
        """Return the average (dim,), of any length."""
        return self.base.mean(state, now)  # type: ignore[no-any-return]
