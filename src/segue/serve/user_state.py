"""People as one version of the model sees them: what they did since training, and where that puts them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from segue.online import Profile, Queries, State
from segue.recommender.facade import TrainedRecommender
from segue.serve.events.base import CLEAR, FORGET, HISTORY, StoredEvent

LOADED = 100_000  # people kept in memory; the others are read again from the store
ROOM = 1 << 30  # bytes that their profiles may take: a posterior of 64 dimensions has 34 KB
NOTHING = np.empty(0, np.int32)


class UserEvent(NamedTuple):
    """An event of a person, and the row of its item, -1 where the version does not know it."""

    row: int
    item_id: str
    kind: str
    weight: float
    time: float


class UserState:
    """What a person did since training, and the state of their profile.

    Attributes:
        row: of the trained user, -1 for somebody new.
        deeds: their events, oldest first.
        state: of their profile.
        left_out: the sorted rows (m,) int32 of items that they had, in training or since.
        last: the id of the last event that counts.
    """

    def __init__(self, profile: Profile, recommender: TrainedRecommender, row: int) -> None:
        self.row, self.last = row, 0
        self.deeds: list[UserEvent] = []
        self._profile, self._recommender = profile, recommender
        self._trained = seen_of(recommender, row)
        self._begin()

    def hear(self, events: Iterable[StoredEvent]) -> None:
        """Take in events in the order of their ids; those that were heard before do not count again."""
        for one in events:
            if one.id <= self.last:
                continue
            self.last = one.id
            if one.kind == FORGET:
                self.deeds = []
                self._begin()
            elif one.kind == CLEAR:
                self.deeds = [deed for deed in self.deeds if deed.item_id != one.item_id]
                self._again()
            else:
                row = self._recommender.items.find(one.item_id)
                self._add(UserEvent(row, one.item_id, one.kind, one.weight, one.time))
        if len(self.deeds) > 2 * HISTORY:
            self.deeds = self.deeds[-HISTORY:]
            self._again()

    def queries(self) -> Queries:
        """Return what to search with now."""
        return self._profile.vectors(self.state, time.time())

    @property
    def moved(self) -> bool:
        """Whether anything that they did moves a profile."""
        return self._moved

    def _begin(self) -> None:
        start = start_of(self._recommender, self._profile, self.row)
        self.state: State = self._profile.start(start)
        self.left_out = self._trained
        self._moved = False

    def _again(self) -> None:
        deeds, self.deeds = self.deeds, []
        self._begin()
        for deed in deeds:
            self._add(deed)

    def _add(self, deed: UserEvent) -> None:
        self.deeds.append(deed)
        if deed.row < 0:
            return
        place = int(np.searchsorted(self.left_out, deed.row))
        if place == len(self.left_out) or self.left_out[place] != deed.row:
            self.left_out = np.insert(self.left_out, place, deed.row)
        if deed.weight and self._profile.space.known(deed.row):
            self.state = self._profile.update(self.state, deed.row, deed.weight, deed.time)
            self._moved = True


class People:
    """The people that one version has loaded; those asked for longest ago give way."""

    def __init__(self, recommender: TrainedRecommender, profile: Profile) -> None:
        self._recommender, self._profile = recommender, profile
        self._loaded: OrderedDict[str, UserState] = OrderedDict()
        size = sum(array.nbytes for array in profile.start().values())
        self._most = max(1, min(LOADED, ROOM // max(1, size)))

    def get(self, user_id: str) -> UserState | None:
        """Return somebody who is loaded."""
        found = self._loaded.get(user_id)
        if found is not None:
            self._loaded.move_to_end(user_id)
        return found

    def make(self, user_id: str, row: int, events: list[StoredEvent]) -> UserState:
        """Make somebody of their events; any thread may."""
        made = UserState(self._profile, self._recommender, row)
        made.hear(events)
        return made

    def keep(self, user_id: str, person: UserState) -> UserState:
        """Keep somebody who was made."""
        self._loaded[user_id] = person
        if len(self._loaded) > self._most:
            self._loaded.popitem(last=False)
        return person

    def hear(self, events: list[StoredEvent]) -> None:
        """Tell those who are loaded of their events."""
        for one in events:
            person = self._loaded.get(one.user_id)
            if person is not None:
                person.hear((one,))

    def __len__(self) -> int:
        return len(self._loaded)


def start_of(recommender: TrainedRecommender, profile: Profile, row: int) -> np.ndarray | None:
    """The vector that training gave a user, None for row -1 and for whom it learned nothing of."""
    if row < 0:
        return None
    found: np.ndarray = recommender.embeddings.users[row]
    return found if found[: profile.space.dim].any() else None


def seen_of(recommender: TrainedRecommender, row: int) -> np.ndarray:
    """The sorted rows of the items that a trained user had; none for row -1."""
    if row < 0:
        return NOTHING
    matrix = recommender.interactions
    found: np.ndarray = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
    return found
