"""A profile of several interests instead of one mean between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segue.online.averages import DAY
from segue.online.profile_state import (
    Pick,
    Queries,
    State,
    append_pick,
    check_above,
    empty_picks,
    no_queries,
)
from segue.online.space import Space
from segue.validation import at_least


@dataclass(frozen=True)
class Interests:
    """Clusters of the latest picks, each represented by its medoid and weighted by recency.

    The directions of the picks are clustered by Ward's method up to the distance `apart`; each cluster is an
    interest. Its query is its medoid, the liked pick with the smallest squared distance to the others, and
    its importance the sum of w 2^(-(now - t) / half_life). Disliked picks reduce the importance of their
    cluster. Pal et al., "PinnerSage: Multi-modal user embedding framework for recommendations at Pinterest"
    (KDD 2020).

    Attributes:
        most: the number of interests in a query.
        apart: the Ward distance above which clusters stay separate; two orthogonal unit vectors have the
            distance 1.41, and larger clusters count as farther apart.
        half_life: of a pick's weight, in the unit of the times.
        size: the number of picks kept.
        n: the importance of the start vector, which is an interest of its own.
    """

    most: int = 3
    apart: float = 1.5
    half_life: float = 30 * DAY
    size: int = 60
    n: float = 8.0

    def __post_init__(self) -> None:
        at_least(self, most=1, size=1, n=0.0)
        check_above(self, apart=0.0, half_life=0.0)

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        return {"start": start, **empty_picks(len(start))}

    def add(self, space: Space, state: State, pick: Pick) -> State:
        """Return the state after a pick."""
        return {"start": state["start"], **append_pick(state, space.direction(pick.row), pick, self.size)}

    def read(self, space: Space, state: State, now: float | None) -> Queries:
        """Return one query per interest at a time, the most important first."""
        vectors, times = state["vectors"], state["times"]
        latest = max(times[-1:].tolist() + ([] if now is None else [now]), default=0.0)
        decayed = state["weights"] * 0.5 ** ((latest - times) / self.half_life)
        interests = []
        for members in self._clusters(vectors):
            importance = float(decayed[members].sum())
            liked = members[state["weights"][members] > 0]
            if importance > 0 and len(liked):
                medoid = liked[int(np.argmax(vectors[liked] @ vectors[liked].sum(0)))]
                interests.append((importance, vectors[medoid]))
        if self.n > 0 and state["start"].any():
            interests.append((self.n, state["start"]))
        interests.sort(key=lambda interest: -interest[0])
        if not interests:
            return no_queries(space)
        weights = np.array([importance for importance, _ in interests[: self.most]])
        directions = np.array([direction for _, direction in interests[: self.most]])
        return Queries(space.queries(directions), weights / weights.sum())

    def _clusters(self, vectors: np.ndarray) -> list[np.ndarray]:
        """The rows of each cluster."""
        if len(vectors) < 2:
            return [np.arange(len(vectors))] if len(vectors) else []
        from scipy.cluster.hierarchy import fcluster, linkage  # slow to import

        labels = fcluster(linkage(vectors, "ward"), self.apart, "distance")
        return [np.flatnonzero(labels == label) for label in np.unique(labels)]
