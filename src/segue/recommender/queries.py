"""User queries: who a list is for, as vectors, with the items behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segue.online.posterior import Posterior
from segue.online.profile import Profile
from segue.online.profile_state import State
from segue.recommender.exclusions import NO_ITEMS

UNTRAINED = 1  # the seed key of users who are not in the training data


class Picks(NamedTuple):
    """The items that a query vector was learned from.

    Attributes:
        rows: (p,) item rows.
        weights: (p,) the confidence of each, as the model counts it.
    """

    rows: np.ndarray
    weights: np.ndarray


NO_PICKS = Picks(NO_ITEMS, np.empty(0, np.float32))
ONE_QUERY = np.ones(1)


@dataclass(frozen=True, eq=False)
class UserQuery:
    """One user as the ranker sees them.

    Attributes:
        vectors: (m, dim) float32, one query per interest of the user; zeros if nothing is known.
        weights: (m,) the share of the list that each query gets.
        exclude: sorted int32 rows of the items that the user must not get.
        picks: the items behind the vector, for Thompson sampling.
        seed_key: distinguishes users under the same seed: row + 1 for a trained user, else `UNTRAINED`.
        precision: returns the posterior precision (dim, dim) of the vector; None if no profile knows it.
    """

    vectors: np.ndarray
    weights: np.ndarray
    exclude: np.ndarray
    picks: Picks
    seed_key: int
    precision: Callable[[], np.ndarray] | None = None

    @property
    def main(self) -> np.ndarray:
        """The vector (dim,) with the largest weight, from which explored and diverse lists are made."""
        vector: np.ndarray = self.vectors[int(np.argmax(self.weights))]
        return vector


class Event(NamedTuple):
    """What a user did since training: an item row, a weight (negative for a dislike), a time in seconds."""

    row: int
    weight: float
    time: float


def follow(profile: Profile, events: Sequence[Event], start: np.ndarray | None = None) -> State:
    """Return the state of a profile after events, oldest first; `start` is a trained vector (dim,)."""
    rows = [event.row for event in events]
    return profile.update(
        profile.start(start),
        np.array(rows, np.int64),
        [event.weight for event in events],
        [event.time for event in events],
    )


def profile_query(
    profile: Profile,
    state: State,
    *,
    now: float | None = None,
    exclude: np.ndarray = NO_ITEMS,
    picks: Picks = NO_PICKS,
    seed_key: int = UNTRAINED,
) -> UserQuery:
    """Return the query that a profile stands for at a time; its vector is zero if nothing is known.

    Args:
        profile: the kind of profile.
        state: the state of one user.
        now: the time of reading; None for the time of the latest event.
        exclude, picks, seed_key: as in `UserQuery`.
    """
    vectors, weights = profile.vectors(state, now)
    if not len(vectors):
        vectors, weights = np.zeros((1, profile.space.items.shape[1]), np.float32), ONE_QUERY
    kind, precision = profile.kind, None
    if isinstance(kind, Posterior):

        def precision() -> np.ndarray:
            return kind.system(profile.space, state, now)[0]

    return UserQuery(vectors, weights, exclude, picks, seed_key, precision)
