"""Profiles: a user's query after each pick, as a small state of arrays and pure functions over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from segue.errors import DataError
from segue.models.ials import IALS
from segue.online.averages import EMA, HalfLife, Neighbors, Recent
from segue.online.interests import Interests
from segue.online.posterior import Posterior
from segue.online.profile_state import Pick, Queries, State
from segue.online.space import Space
from segue.validation import named


class ProfileKind(Protocol):
    """A kind of profile: settings with pure functions over a state of arrays."""

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick; `start` is a vector (dim,), zeros for a new user."""
        ...

    def add(self, space: Space, state: State, pick: Pick) -> State:
        """Return the state after a pick; the given state is unchanged."""
        ...

    def read(self, space: Space, state: State, now: float | None) -> Queries:
        """Return the queries that the state stands for at a time."""
        ...


PROFILES: dict[str, type[ProfileKind]] = {
    "ema": EMA,
    "halflife": HalfLife,
    "interests": Interests,
    "neighbors": Neighbors,
    "posterior": Posterior,
    "recent": Recent,
}
AUTO = "auto"  # stands for the default kind of the model
NUMBERS = (int, float)
MAX_WEIGHT = 1e6  # of a pick


class Profile:
    """A kind of profile over the items of a model. It holds no user data; states do.

    Attributes:
        kind: the settings of a kind, its name in `PROFILES`, or "auto" for `default_kind`.
        space: the items.
    """

    def __init__(self, kind: str | ProfileKind, space: Space) -> None:
        self.space = space
        self.kind: ProfileKind = default_kind(space) if kind == AUTO else named(kind, PROFILES, "profile")

    def start(self, vector: ArrayLike | None = None) -> State:
        """Return the state of a new user, or of a user with a trained vector (dim,).

        The vector may come with its biases, as in `Embeddings.users`, or without. Averages use its direction
        only. Raises `DataError` for a vector of another length, of zeros, or with values that are not finite.
        """
        dim = self.space.dim
        if vector is None:
            return self.kind.begin(self.space, np.zeros(dim))
        start = np.asarray(vector, np.float64).reshape(-1)
        if len(start) not in (dim, dim + self.space.biases) or not np.isfinite(start).all():
            raise DataError(
                f"a profile starts from a finite vector of {dim} dimensions, but {start.shape} "
                f"{'came' if np.isfinite(start).all() else 'with NaN or infinity came'}"
            )
        start = start[:dim]
        if not start.any():
            raise DataError("a profile cannot start from a vector of zeros; leave it out for a new user")
        scaled = start if isinstance(self.kind, Posterior) else start / np.sqrt(start @ start)
        return self.kind.begin(self.space, scaled)

    def update(
        self, state: State, items: ArrayLike, weights: ArrayLike = 1.0, times: ArrayLike = 0.0
    ) -> State:
        """Return the state after picks, in their order; the given state is unchanged.

        Args:
            state: from `start`, `update` or `from_json`.
            items: the row of an item, or (m,) rows.
            weights: one for all or (m,): positive for liked items, negative for disliked ones; picks with a
                weight of zero change nothing.
            times: one for all or (m,), in seconds or any unit; they need not be sorted.

        Raises `DataError` for rows that do not exist, items with zero vectors, and numbers that are not
        finite.
        """
        for pick in self.picks(items, weights, times):
            state = self.kind.add(self.space, state, pick)
        return state

    def vectors(self, state: State, now: float | None = None) -> Queries:
        """Return the queries at a time: vectors (m, dim) float32 and their weights.

        `now` is a time as in `update`; None, or a time before the latest pick, means the time of the latest
        pick. There are no vectors if nothing is known or the picks cancel each other: recommend popular
        items.
        """
        return self.kind.read(self.space, state, now)

    def from_json(self, stored: Mapping[str, ArrayLike]) -> State:
        """Return the state that `to_json` stored; raises `DataError` for a state of another kind or space."""
        state = {}
        for name, template in self.start().items():
            try:
                array = np.asarray(stored[name], np.float64)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(self._mismatch(f"has no usable {name!r}")) from error
            if not array.size and not template.size:
                array = array.reshape(template.shape)
            if array.ndim != template.ndim or (template.size and array.shape != template.shape):
                raise DataError(self._mismatch(f"has {name!r} of shape {array.shape}"))
            if np.isnan(array).any():
                raise DataError(self._mismatch(f"has NaN in {name!r}"))
            state[name] = array
        picks = [state[name] for name in ("vectors", "weights", "times") if name in state]
        if len({len(array) for array in picks}) > 1 or (picks and picks[0].shape[1:] != (self.space.dim,)):
            raise DataError(self._mismatch("has picks of different lengths or dimensions"))
        if state.get("time", np.empty(0)).size > 1:
            raise DataError(self._mismatch("has more than one time"))
        return state

    def _mismatch(self, defect: str) -> str:
        return (
            f"the stored profile {defect}, so it does not belong to {self.kind!r} in {self.space.dim} "
            "dimensions; rebuild it from the user's events"
        )

    def picks(self, items: ArrayLike, weights: ArrayLike = 1.0, times: ArrayLike = 0.0) -> list[Pick]:
        """Return checked picks, without those of weight zero; the arguments are those of `update`."""
        if (
            type(items) is int and type(weights) in NUMBERS and type(times) in NUMBERS
        ):  # one pick: the common case
            checked = [self._pick(items, weights, times)]
        else:
            checked = [self._pick(*pick) for pick in _aligned(items, weights, times)]
        return [pick for pick in checked if pick.weight]

    def _pick(self, row: int, weight: float, time: float) -> Pick:
        if not 0 <= row < len(self.space.items):
            raise DataError(f"there is no item row {row}: the rows are 0..{len(self.space.items) - 1}")
        if not -MAX_WEIGHT <= weight <= MAX_WEIGHT:
            raise DataError(f"the weight of a pick is {weight!r}; it must be within ±{MAX_WEIGHT:,.0f}")
        if not -np.inf < time < np.inf:
            raise DataError(f"the time of a pick is {time!r}; times must be finite numbers")
        return Pick(row, weight, time)


def default_kind(space: Space) -> ProfileKind:
    """Return the kind that predicts the next pick best: for iALS a posterior with decay, else an average."""
    return Posterior(picks=3.0) if isinstance(space.model, IALS) else EMA(2.0)


def _aligned(items: ArrayLike, weights: ArrayLike, times: ArrayLike) -> Iterator[tuple[int, float, float]]:
    """The row, weight and time of each pick."""
    rows = np.asarray(items)
    if rows.dtype.kind not in "iu" and rows.size:
        raise DataError(f"picks are item rows, which are integers, not {rows.dtype} ({rows.tolist()!r})")
    count = rows.size
    columns = [rows.reshape(-1).tolist()]
    for name, values in (("weights", weights), ("times", times)):
        try:
            numbers = np.asarray(values, np.float64).reshape(-1)
        except (TypeError, ValueError) as error:
            raise DataError(f"the {name} of picks must be numbers, not {values!r}") from error
        if numbers.size not in (1, count):
            raise DataError(
                f"{numbers.size} {name} came for {count} picks: give one for each, or one for all"
            )
        columns.append(numbers.tolist() * (count if numbers.size == 1 else 1))
    return zip(*columns, strict=True)


def to_json(state: State) -> dict[str, list[float]]:
    """Return a state as lists of numbers, which JSON stores exactly; `Profile.from_json` reads them."""
    return {name: array.tolist() for name, array in state.items()}
