"""Several interests of one person instead of one mean that lies between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segue.models.settings import at_least
from segue.online.averages import DAY
from segue.online.profile_state import Pick, Queries, State, above, kept, nothing
from segue.online.space import Space


@dataclass(frozen=True)
class Interests:
    """Clusters of the latest picks, each read as its medoid and weighted by how lately it was liked.

    The directions of the picks are clustered by Ward's method; what is nearer than `apart` becomes one
    interest. Its query is its medoid, the pick with the least squared distance to the others, and its
    importance the sum of w 2^(-(now - t) / half_life). What was disliked takes away from its cluster. Pal et
    al., "PinnerSage: Multi-modal user embedding framework for recommendations at Pinterest" (KDD 2020).

    Attributes:
        most: the interests that are searched for.
        apart: Ward's distance between clusters that stay apart; two unit vectors at a right angle are 1.41
            apart, and larger clusters count as farther.
        half_life: of a pick's importance, in the unit of the times.
        size: the picks that are kept.
        n: the importance of the vector that was started from, which is an interest of its own.
    """

    most: int = 3
    apart: float = 1.5
    half_life: float = 30 * DAY
    size: int = 60
    n: float = 8.0

    def __post_init__(self) -> None:
        at_least(self, most=1, size=1, n=0.0)
        above(self, apart=0.0, half_life=0.0)

    def begin(self, space: Space, start: np.ndarray) -> State:
        """Return the state before the first pick."""
        return {"start": start, **nothing(len(start))}

    def add(self, space: Space, state: State, pick: Pick) -> State:
        """Return the state after a pick."""
        return {"start": state["start"], **kept(state, space.direction(pick.row), pick, self.size)}

    def read(self, space: Space, state: State, now: float | None) -> Queries:
        """Return what to search with."""
        vectors, times = state["vectors"], state["times"]
        latest = max(times[-1:].tolist() + ([] if now is None else [now]), default=0.0)
        worth = state["weights"] * 0.5 ** ((latest - times) / self.half_life)
        found = []
        for members in self._clusters(vectors):
            importance = float(worth[members].sum())
            liked = members[state["weights"][members] > 0]
            if importance > 0 and len(liked):
                medoid = liked[int(np.argmax(vectors[liked] @ vectors[liked].sum(0)))]
                found.append((importance, vectors[medoid]))
        if self.n > 0 and state["start"].any():
            found.append((self.n, state["start"]))
        found.sort(key=lambda pair: -pair[0])
        if not found:
            return Queries(np.empty((0, space.items.shape[1]), np.float32), np.empty(0))
        weights = np.array([importance for importance, _ in found[: self.most]])
        directions = np.array([direction for _, direction in found[: self.most]])
        return Queries(space.queries(directions), weights / weights.sum())

    def _clusters(self, vectors: np.ndarray) -> list[np.ndarray]:
        """The rows of each cluster."""
        if len(vectors) < 2:
            return [np.arange(len(vectors))] if len(vectors) else []
        from scipy.cluster.hierarchy import fcluster, linkage  # slow to import, and only this needs it

        marks = fcluster(linkage(vectors, "ward"), self.apart, "distance")
        return [np.flatnonzero(marks == mark) for mark in np.unique(marks)]
