"""One version of the model, loaded and warm, with everything that is derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from segue import store
from segue.data.ids import Id
from segue.online import Profile
from segue.recommender.facade import TrainedRecommender
from segue.recommender.fitting import load
from segue.serve.events.base import NewItem
from segue.serve.metrics import Metrics
from segue.serve.payloads import Facet, ListedItem
from segue.serve.service.facets import facets
from segue.serve.service.item_map import ItemMap
from segue.serve.service.new_items import with_new_items
from segue.serve.service.query_batcher import QueryBatcher
from segue.serve.service.user_state import UserCache

CACHED = 200_000  # user rows and item summaries in memory
Summary = tuple[Id, str | None]  # id and title of an item


class LoadedModel:
    """A version of the model and what the service derives from it.

    Attributes:
        recommender: the version, with the items that were added after training.
        version: its name in the model folder.
        name: the version, followed by `+n` for n added items.
        added: the sequence number of the last added item.
        profile: the profile that events update.
        batcher: batched searches.
        users: the cached user states.
    """

    def __init__(
        self,
        recommender: TrainedRecommender,
        version: str,
        added: Sequence[NewItem],
        profile: str,
        metrics: Metrics,
    ) -> None:
        self.version, self.added = version, added[-1].id if added else 0
        self.recommender = with_new_items(recommender, added)
        extra = len(self.recommender.items) - len(recommender.items)
        self.name = f"{version}+{extra}" if extra else version
        self.profile = Profile(profile, self.recommender.space)
        self.batcher = QueryBatcher(self.recommender, metrics)
        self.users = UserCache(self.recommender, self.profile)
        self._user_rows: dict[str, int] = {}
        self._summaries: dict[int, Summary] = {}

    def warm_up(self) -> None:
        """Compile, page in and cache what requests use, so that the first request is fast."""
        recommender = self.recommender
        self.batcher.warm_up()
        recommender.users.find("")
        recommender.items.find("")
        row = int(np.argmax(np.diff(recommender.interactions.indptr) > 0)) if len(recommender.users) else -1
        placed = np.flatnonzero(recommender.embeddings.items[:64].any(1))
        if len(placed):
            user = self.users.build(row, [])
            state = self.profile.update(user.state, int(placed[0]), 1.0, 0.0)
            self.profile.vectors(state, 1.0)
        if len(recommender.items) <= CACHED:
            self.summaries(list(range(len(recommender.items))))
        if len(recommender.users) <= CACHED:
            self._user_rows = {
                str(user_id): row for row, user_id in enumerate(recommender.users.series.to_list())
            }
        self.is_trained(0)

    def user_row(self, user_id: str) -> int:
        """Return the row of a user, -1 if they are not in the training data."""
        row = self._user_rows.get(user_id)
        if row is None:
            row = self.recommender.users.find(user_id)
            if len(self._user_rows) >= CACHED:
                self._user_rows.clear()
            self._user_rows[user_id] = row
        return row

    def is_trained(self, row: int) -> bool:
        """Return whether a user row has a vector that is not zero."""
        return row >= 0 and bool(self._trained_rows[row])

    @cached_property
    def _trained_rows(self) -> np.ndarray:
        return np.asarray(self.recommender.embeddings.users.any(1))

    def summaries(self, rows: list[int]) -> list[Summary]:
        """Return the id and title of each item row."""
        cache = self._summaries
        missing = [row for row in rows if row not in cache]
        if missing:
            if len(cache) + len(missing) > CACHED:
                cache.clear()
                missing = rows
            places = np.array(missing)
            titles = self.recommender.titles(places)
            values = [None] * len(missing) if titles is None else titles.to_list()
            ids = self.recommender.items.series.gather(places).to_list()
            cache.update(zip(missing, zip(ids, values, strict=True), strict=True))
        return [cache[row] for row in rows]

    def listed_items(self, rows: list[int], scores: list[float]) -> list[ListedItem]:
        """Return item rows, best first, as the items of a list."""
        return [
            {"item_id": item_id, "score": score, "rank": rank, "title": title}
            for rank, ((item_id, title), score) in enumerate(
                zip(self.summaries(rows), scores, strict=False), 1
            )
        ]

    def item_details(self, row: int) -> dict[str, object]:
        """Return the id of an item and the columns of its metadata."""
        table = self.recommender.item_metadata
        cells = {} if table is None else table.row(row, named=True)
        details: dict[str, object] = {name: json_value(value) for name, value in cells.items()}
        return {"item_id": self.recommender.items[row], **details}

    @cached_property
    def item_map(self) -> ItemMap:
        """The items in two dimensions."""
        return ItemMap.of(self.recommender.embeddings.item_directions)

    @cached_property
    def facets(self) -> list[Facet]:
        """What the items can be filtered by."""
        return facets(self.recommender.item_metadata)

    @property
    def item_counts(self) -> np.ndarray:
        """The number of training users of each item: (n,) int64."""
        return self.recommender.ranker.counts


def open_model(
    folder: str | Path, version: str, added: Sequence[NewItem], profile: str, metrics: Metrics
) -> LoadedModel:
    """Load a version, verify its checksums, and warm it up.

    Raises `ModelFolderError` for a version that cannot be read, `SettingError` for an unknown profile.
    """
    store.verify(folder, version)
    model = LoadedModel(load(folder, version), version, added, profile, metrics)
    model.warm_up()
    return model


def json_value(value: object) -> object:
    """Return a cell of a frame as a JSON value."""
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, (list, tuple, pl.Series)):
        return [json_value(part) for part in value]
    return str(value)
