"""The item map: items in two dimensions, and the path of a user's profile on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from segue.numerics.axes import principal_axes
from segue.online import Profile, State
from segue.serve.service.user_state import UserEvent

Position = list[float]  # x and y


class ItemMap(NamedTuple):
    """Item directions, projected on their first two principal axes.

    Attributes:
        positions: (n, 2) float32, the positions of the items.
        center, axes: (dim,) and (dim, 2) float32, the projection.
    """

    positions: np.ndarray
    center: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray) -> ItemMap:
        """Return the map of item vectors (n, dim) without biases."""
        directions = unit(np.asarray(vectors, np.float32))
        center = directions.mean(0)
        centered = np.ascontiguousarray(directions - center)
        axes = np.zeros((centered.shape[1], 2), np.float32)
        leading = principal_axes(centered)[1][:, :2]
        axes[:, : leading.shape[1]] = leading
        return cls(centered @ axes, center, axes)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Return the positions (m, 2) of vectors (m, dim or more; biases at the end are ignored)."""
        positions: np.ndarray = (unit(vectors[:, : len(self.center)]) - self.center) @ self.axes
        return positions

    def path(
        self, profile: Profile, start: np.ndarray | None, events: Sequence[UserEvent]
    ) -> list[Position | None]:
        """Return the positions of a profile before the first event and after each.

        A position is None if the profile has no query.
        """
        state = profile.start(start)
        path = [self._position(profile, state, events[0].time if events else None)]
        for event in events:
            if event.row >= 0 and event.weight and profile.space.known(event.row):
                state = profile.update(state, event.row, event.weight, event.time)
            path.append(self._position(profile, state, event.time))
        return path

    def _position(self, profile: Profile, state: State, now: float | None) -> Position | None:
        queries = profile.vectors(state, now)
        if not len(queries.vectors):
            return None
        mean = queries.weights @ self.project(queries.vectors)
        return [round(float(coordinate), 4) for coordinate in mean]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors scaled to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: np.ndarray = vectors / np.where(lengths > 0, lengths, 1)
    return scaled
