"""The map: items in two dimensions, and where a person stands and stood on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from segue.numerics.axes import principal_axes
from segue.online import Profile
from segue.serve.user_state import UserEvent


class Atlas(NamedTuple):
    """Directions projected on the first two principal axes of the items' directions.

    Attributes:
        places: (n, 2) float32, of the items.
        centre, axes: (dim,) and (dim, 2) float32, by which other directions are placed.
    """

    places: np.ndarray
    centre: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray) -> Atlas:
        """Place items by their vectors (n, dim) without biases."""
        directions = unit(np.asarray(vectors, np.float32))
        centre = directions.mean(0)
        centred = np.ascontiguousarray(directions - centre)
        axes = np.zeros((centred.shape[1], 2), np.float32)
        found = principal_axes(centred)[1][:, :2]
        axes[:, : found.shape[1]] = found
        return cls(centred @ axes, centre, axes)

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Return the places (m, 2) of vectors (m, dim or more: biases are left away)."""
        placed: np.ndarray = (unit(vectors[:, : len(self.centre)]) - self.centre) @ self.axes
        return placed

    def path(
        self, profile: Profile, start: np.ndarray | None, deeds: Sequence[UserEvent]
    ) -> list[list[float] | None]:
        """Return where a profile stood before the deeds and after each; None where it has no one place."""
        state = profile.start(start)
        stood = [self._stand(profile, state, deeds[0].time if deeds else time.time())]
        for deed in deeds:
            if deed.row >= 0 and deed.weight and profile.space.known(deed.row):
                state = profile.update(state, deed.row, deed.weight, deed.time)
            stood.append(self._stand(profile, state, deed.time))
        return stood

    def _stand(self, profile: Profile, state: object, now: float) -> list[float] | None:
        asked = profile.vectors(state, now)  # type: ignore[arg-type]
        if not len(asked.vectors):
            return None
        middle = asked.weights @ self.place(asked.vectors)
        return [round(float(one), 4) for one in middle]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors at length 1; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    made: np.ndarray = vectors / np.where(lengths > 0, lengths, 1)
    return made
