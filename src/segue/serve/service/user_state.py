"""Users as one version of the model sees them: their events since training, and their profile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from segue.online import Profile, Queries, State
from segue.recommender.exclusions import NO_ITEMS
from segue.recommender.facade import TrainedRecommender
from segue.serve.events.base import CLEAR, FORGET, HISTORY, StoredEvent

MAX_USERS = 100_000  # users in the cache; others are read from the event store again
MAX_BYTES = 1 << 30  # size of the cached profiles; a posterior of 64 dimensions has 34 KB


class UserEvent(NamedTuple):
    """An event of a user, with the row of its item; -1 if this version does not know the item."""

    row: int
    item_id: str
    kind: str
    weight: float
    time: float


class UserState:
    """The events of a user since training, and the state of their profile.

    Attributes:
        row: the row of the user, -1 if they are not in the training data.
        events: their events, oldest first.
        state: the state of their profile.
        exclude: sorted rows (m,) int32 of the items from training and from events.
        last: the id of the last event that was applied.
    """

    def __init__(self, profile: Profile, recommender: TrainedRecommender, row: int) -> None:
        self.row, self.last = row, 0
        self.events: list[UserEvent] = []
        self._profile, self._recommender = profile, recommender
        self._trained = training_items(recommender, row)
        self._reset()

    def apply(self, events: Iterable[StoredEvent]) -> None:
        """Apply events in the order of their ids; events that were applied before are ignored."""
        for event in events:
            if event.id <= self.last:
                continue
            self.last = event.id
            if event.kind == FORGET:
                self.events = []
                self._reset()
            elif event.kind == CLEAR:
                self.events = [earlier for earlier in self.events if earlier.item_id != event.item_id]
                self._rebuild()
            else:
                row = self._recommender.items.find(event.item_id)
                self._add(UserEvent(row, event.item_id, event.kind, event.weight, event.time))
        if len(self.events) > 2 * HISTORY:
            self.events = self.events[-HISTORY:]
            self._rebuild()

    def queries(self, now: float) -> Queries:
        """Return the queries of the profile at a time, in seconds since 1970."""
        return self._profile.vectors(self.state, now)

    @property
    def has_moved(self) -> bool:
        """Whether any event has moved the profile."""
        return self._has_moved

    def _reset(self) -> None:
        start = start_vector(self._recommender, self._profile, self.row)
        self.state: State = self._profile.start(start)
        self.exclude = self._trained
        self._has_moved = False

    def _rebuild(self) -> None:
        events, self.events = self.events, []
        self._reset()
        for event in events:
            self._add(event)

    def _add(self, event: UserEvent) -> None:
        self.events.append(event)
        if event.row < 0:
            return
        place = int(np.searchsorted(self.exclude, event.row))
        if place == len(self.exclude) or self.exclude[place] != event.row:
            self.exclude = np.insert(self.exclude, place, event.row)
        if event.weight and self._profile.space.known(event.row):
            self.state = self._profile.update(self.state, event.row, event.weight, event.time)
            self._has_moved = True


class UserCache:
    """The user states of one version, least recently used first."""

    def __init__(self, recommender: TrainedRecommender, profile: Profile) -> None:
        self._recommender, self._profile = recommender, profile
        self._states: OrderedDict[str, UserState] = OrderedDict()
        size = sum(array.nbytes for array in profile.start().values())
        self._capacity = max(1, min(MAX_USERS, MAX_BYTES // max(1, size)))

    def get(self, user_id: str) -> UserState | None:
        """Return the cached state of a user, or None."""
        state = self._states.get(user_id)
        if state is not None:
            self._states.move_to_end(user_id)
        return state

    def build(self, row: int, events: list[StoredEvent]) -> UserState:
        """Return the state of a user (row -1 if untrained) after events; thread-safe."""
        state = UserState(self._profile, self._recommender, row)
        state.apply(events)
        return state

    def put(self, user_id: str, state: UserState) -> UserState:
        """Cache a state and return it."""
        self._states[user_id] = state
        if len(self._states) > self._capacity:
            self._states.popitem(last=False)
        return state

    def apply(self, events: list[StoredEvent]) -> None:
        """Apply events to the cached states of their users."""
        for event in events:
            state = self._states.get(event.user_id)
            if state is not None:
                state.apply((event,))

    def __len__(self) -> int:
        return len(self._states)


def start_vector(recommender: TrainedRecommender, profile: Profile, row: int) -> np.ndarray | None:
    """Return the trained vector of a user row, or None for row -1 and for a vector of zeros."""
    if row < 0:
        return None
    vector: np.ndarray = recommender.embeddings.users[row]
    return vector if vector[: profile.space.dim].any() else None


def training_items(recommender: TrainedRecommender, row: int) -> np.ndarray:
    """Return the sorted item rows of a user's training interactions; none for row -1."""
    if row < 0:
        return NO_ITEMS
    matrix = recommender.interactions
    rows: np.ndarray = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
    return rows
