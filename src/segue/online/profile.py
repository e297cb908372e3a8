"""Profiles: where a person stands after each pick, as a small state of arrays and pure functions over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

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
AUTO = "auto"  # the name of the kind that suits the model
PLAIN = (int, float)
LARGEST = 1e6  # the weight of a pick


@dataclass(frozen=True, eq=False)
class Profile:
    """A kind of profile over the items of a model. It holds nothing of any person: states do.

    Attributes:
        kind: the settings of a kind, its name in `PROFILES`, or "auto" for what `suited` says.
        space: the items.
    """

    kind: Any
    space: Space

    def __post_init__(self) -> None:
        kind = suited(self.space) if self.kind == AUTO else named(self.kind, PROFILES, "profile")
        object.__setattr__(self, "kind", kind)

    def start(self, vector: Any = None) -> State:
        """Return the state of somebody of whom nothing is known, or of a trained user's vector (dim,).

        The vector may be with its biases, as in `Embeddings.users`, or without. Averages take its direction
        alone. Raises `DataError` for one of another length, of zeros, or of values that are not finite.
        """
        dim = self.space.dim
        if vector is None:
            return self.kind.begin(self.space, np.zeros(dim))  # type: ignore[no-any-return]
        made = np.asarray(vector, np.float64).reshape(-1)
        if len(made) not in (dim, dim + self.space.biases) or not np.isfinite(made).all():
            raise DataError(
                f"a profile starts from a finite vector of {dim} dimensions, but {made.shape} "
                f"{'came' if np.isfinite(made).all() else 'with NaN or infinity came'}"
            )
        made = made[:dim]
        if not made.any():
            raise DataError("a profile cannot start from a vector of zeros; leave it out for somebody new")
        scaled = made if isinstance(self.kind, Posterior) else made / np.sqrt(made @ made)
        return self.kind.begin(self.space, scaled)  # type: ignore[no-any-return]

    def update(self, state: State, items: Any, weights: Any = 1.0, times: Any = 0.0) -> State:
        """Return the state after picks, one after another; the given state stays as it was.

        Args:
            state: from `start`, `update` or `restored`.
            items: the row of an item, or (m,) rows.
            weights: one for all or (m,): positive for what was liked, negative for what was not; a weight of
                zero changes nothing.
            times: one for all or (m,), in seconds or any unit; they may go back.

        Raises `DataError` for rows that do not exist, items of zero vectors, and numbers that are not finite.
        """
        for pick in self.picks(items, weights, times):
            state = self.kind.add(self.space, state, pick)
        return state

    def vectors(self, state: State, now: float | None = None) -> Queries:
        """Return what to search with: vectors (m, dim) float32 and what share each is worth.

        `now` is a time as in `update`; None, or one before the latest pick, stands for the latest pick. There
        is no vector where nothing is known, or where picks cancel each other out: recommend what is popular.
        """
        return self.kind.read(self.space, state, now)  # type: ignore[no-any-return]

    def restored(self, stored: Mapping[str, Any]) -> State:
        """Take back what `stored` gave, or raise `DataError` if it is not a state of this kind and space."""
        wanted = self.start()
        state = {}
        for name, like in wanted.items():
            try:
                array = np.asarray(stored[name], np.float64)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(self._foreign(f"has no usable {name!r}")) from error
            if not array.size and not like.size:
                array = array.reshape(like.shape)
            if array.ndim != like.ndim or (like.size and array.shape != like.shape):
                raise DataError(self._foreign(f"has {name!r} of shape {array.shape}"))
            if np.isnan(array).any():
                raise DataError(self._foreign(f"has NaN in {name!r}"))
            state[name] = array
        picks = [state[name] for name in ("vectors", "weights", "times") if name in state]
        if len({len(one) for one in picks}) > 1 or (picks and picks[0].shape[1:] != (self.space.dim,)):
            raise DataError(self._foreign("has picks that do not fit each other"))
        if state.get("time", np.empty(0)).size > 1:
            raise DataError(self._foreign("has more than one time"))
        return state

    def _foreign(self, what: str) -> str:
        return (
            f"the stored profile {what}, so it is not one of {self.kind!r} in {self.space.dim} dimensions; "
            "make it anew from the person's events"
        )

    def picks(self, items: Any, weights: Any = 1.0, times: Any = 0.0) -> list[Pick]:
        """Check picks as `update` takes them; those of weight zero are left out."""
        if type(items) is int and type(weights) in PLAIN and type(times) in PLAIN:  # one pick, as it comes
            checked = [self._pick(items, weights, times)]
        else:
            checked = [self._pick(*one) for one in zip(*_aligned(items, weights, times), strict=True)]
        return [pick for pick in checked if pick.weight]

    def _pick(self, row: int, weight: float, time: float) -> Pick:
        if not 0 <= row < len(self.space.items):
            raise DataError(f"there is no item row {row}: the rows are 0..{len(self.space.items) - 1}")
        if not -LARGEST <= weight <= LARGEST:
            raise DataError(f"the weight of a pick is {weight!r}; it must be within ±{LARGEST:,.0f}")
        if not -np.inf < time < np.inf:
            raise DataError(f"the time of a pick is {time!r}; times must be finite numbers")
        return Pick(row, weight, time)


def suited(space: Space) -> Any:
    """Return what measured best by the next pick: for iALS a posterior that forgets, else an average."""
    return Posterior(picks=3.0) if isinstance(space.model, IALS) else EMA(2.0)


def _aligned(rows: Any, weights: Any, times: Any) -> list[list[Any]]:
    """Rows, weights and times as lists of one length."""
    rows = np.asarray(rows)
    if rows.dtype.kind not in "iu" and rows.size:
        raise DataError(f"picks are rows of items, whole numbers, not {rows.dtype} ({rows.tolist()!r})")
    count = rows.size
    columns = [rows.reshape(-1).tolist()]
    for name, values in (("weights", weights), ("times", times)):
        try:
            made = np.asarray(values, np.float64).reshape(-1)
        except (TypeError, ValueError) as error:
            raise DataError(f"the {name} of picks must be numbers, not {values!r}") from error
        if made.size not in (1, count):
            raise DataError(f"{made.size} {name} came for {count} picks: give one for each, or one for all")
        columns.append(made.tolist() * (count if made.size == 1 else 1))
    return columns


def stored(state: State) -> dict[str, Any]:
    """Turn a state into lists of numbers, which JSON keeps exactly; `Profile.restored` takes them back."""
    return {name: array.tolist() for name, array in state.items()}
