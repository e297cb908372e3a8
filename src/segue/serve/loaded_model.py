"""A generation: one version of the model, warm and ready to answer, with all that was made from it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from segue import store
from segue.errors import SegueError
from segue.online import Profile
from segue.recommender.facade import TrainedRecommender
from segue.recommender.filters import SEPARATOR, ItemFilters
from segue.recommender.fitting import load
from segue.serve.atlas import Atlas
from segue.serve.events.base import NewItem
from segue.serve.facets import facets
from segue.serve.metrics import Metrics
from segue.serve.query_batcher import QueryBatcher
from segue.serve.user_state import People

REMEMBERED = 200_000  # ids of users, and cards of items, that are found without a search
log = logging.getLogger("segue")


class LoadedModel:
    """A version and what the service makes of it.

    Attributes:
        recommender: the version, with items that were added since.
        name: of the version in the model folder, and `+n` for n added items.
        searches, filters, people: what is made of it.
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
        self.recommender = with_added(recommender, added)
        extra = len(self.recommender.items) - len(recommender.items)
        self.name = f"{version}+{extra}" if extra else version
        self.profile = Profile(profile, self.recommender.space)
        self.searches = QueryBatcher(self.recommender, metrics)
        self.filters = ItemFilters(self.recommender)
        self.people = People(self.recommender, self.profile)
        self._rows: dict[str, int] = {}
        self._cards: dict[int, tuple[Any, Any]] = {}

    def warm_up(self) -> None:
        """Compile, page in and sort what answers need, so that the first request is as fast as the next."""
        recommender = self.recommender
        self.searches.warm_up()
        recommender.users.find("")
        recommender.items.find("")
        row = int(np.argmax(np.diff(recommender.interactions.indptr) > 0)) if len(recommender.users) else -1
        known = np.flatnonzero(recommender.embeddings.items[:64].any(1))
        if len(known):
            person = self.people.make("", row, [])
            state = self.profile.update(person.state, int(known[0]), 1.0, 0.0)
            self.profile.vectors(state, 1.0)
        if len(recommender.items) <= REMEMBERED:
            self.cards(list(range(len(recommender.items))))
        if len(recommender.users) <= REMEMBERED:
            self._rows = {str(one): row for row, one in enumerate(recommender.users.series.to_list())}
        self.is_known(0)

    def row_of(self, user_id: str) -> int:
        """Return the row of a trained user, -1 for somebody new."""
        row = self._rows.get(user_id)
        if row is None:
            row = self.recommender.users.find(user_id)
            if len(self._rows) >= REMEMBERED:
                self._rows.clear()
            self._rows[user_id] = row
        return row

    def is_known(self, row: int) -> bool:
        """Tell whether training placed a user: whether their vector is not zero."""
        return row >= 0 and bool(self._placed[row])

    @cached_property
    def _placed(self) -> np.ndarray:
        return np.asarray(self.recommender.embeddings.users.any(1))

    def cards(self, rows: list[int]) -> list[tuple[Any, Any]]:
        """Return ids and titles of items; the title is None where there is none."""
        cards = self._cards
        missing = [row for row in rows if row not in cards]
        if missing:
            if len(cards) + len(missing) > REMEMBERED:
                cards.clear()
                missing = rows
            places = np.array(missing)
            titles = self.recommender.titles(places)
            known = [None] * len(missing) if titles is None else titles.to_list()
            ids = self.recommender.items.series.gather(places).to_list()
            cards.update(zip(missing, zip(ids, known, strict=True), strict=True))
        return [cards[row] for row in rows]

    def item_rows(self, ids: Iterable[str]) -> np.ndarray:
        """Return the sorted rows (m,) int32 of the items that are known."""
        rows = self.recommender.items.rows(list(ids))
        made: np.ndarray = np.unique(rows[rows >= 0]).astype(np.int32)
        return made

    def describe(self, row: int) -> dict[str, Any]:
        """Return what is known of an item: its id and the columns of its metadata."""
        table = self.recommender.item_metadata
        known = (
            {}
            if table is None
            else {name: plain(value) for name, value in table.row(row, named=True).items()}
        )
        return {"item_id": self.recommender.items[row], **known}

    @cached_property
    def atlas(self) -> Atlas:
        """The items in two dimensions."""
        return Atlas.of(self.recommender.embeddings.item_directions)

    @cached_property
    def facets(self) -> list[dict[str, Any]]:
        """What the items can be filtered by."""
        return facets(self.recommender.item_metadata)

    @cached_property
    def counts(self) -> np.ndarray:
        """(n,) int64: how many users had each item in training."""
        return np.bincount(self.recommender.interactions.indices, minlength=len(self.recommender.items))


def with_added(recommender: TrainedRecommender, added: Sequence[NewItem]) -> TrainedRecommender:
    """Add the items that were put in since training; those that a version cannot place are left out."""
    new = {one.item_id: json.loads(one.known) for one in added if recommender.items.find(one.item_id) < 0}
    if not new:
        return recommender
    try:
        return _grown(recommender, new)
    except (SegueError, pl.exceptions.PolarsError) as error:
        log.warning("not all added items can be placed in this version: %s", error)
    for item_id, known in new.items():
        try:
            recommender = _grown(recommender, {item_id: known})
        except (SegueError, pl.exceptions.PolarsError) as error:  # noqa: PERF203 - each for itself
            log.warning("item %r cannot be placed in this version: %s", item_id, error)
    return recommender


def _grown(recommender: TrainedRecommender, new: dict[str, dict[str, Any]]) -> TrainedRecommender:
    """The recommender with new items, and in their metadata what is known of them."""
    features = pl.DataFrame([known["features"] for known in new.values()], infer_schema_length=None)
    grown = recommender.with_items(list(new), features)
    table = grown.item_metadata
    if table is None:
        return grown
    titles = [{"title": known["title"]} if known.get("title") else {} for known in new.values()]
    told = [{**known["features"], **title} for known, title in zip(new.values(), titles, strict=True)]
    rows = [_cells(name, [one.get(name) for one in told], dtype) for name, dtype in table.schema.items()]
    return replace(grown, item_metadata=pl.concat([table[: -len(new)], pl.DataFrame(rows)]))


def _cells(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    """What is known of new items, in the type of a column; null where it does not fit."""
    if isinstance(dtype, (pl.List, pl.Array)):
        values = [one.split(SEPARATOR) if isinstance(one, str) else one for one in values]
    try:
        return pl.Series(name, values, strict=False).cast(dtype, strict=False)
    except (TypeError, pl.exceptions.PolarsError):
        return pl.Series(name, [None] * len(values), dtype)


def open_loaded_model(
    folder: str | Path, added: Sequence[NewItem], profile: str, metrics: Metrics, version: str | None = None
) -> LoadedModel:
    """Load a version, check every byte of it, and warm it up; raises the errors of a model folder."""
    name = store.current_version(folder) if version is None else version
    store.verify(folder, name)
    made = LoadedModel(load(folder, name), name, added, profile, metrics)
    made.warm_up()
    return made


def newest_intact(
    folder: str | Path, added: Sequence[NewItem], profile: str, metrics: Metrics
) -> LoadedModel:
    """Open the current version, or where it is bad the newest that is not."""
    names: list[str | None] = [None, *store.versions(folder)[::-1]]
    bad: SegueError | None = None
    for name in names:
        try:
            return open_loaded_model(folder, added, profile, metrics, name)
        except SegueError as error:  # noqa: PERF203 - one bad version must not hide the others
            log.error("%s cannot be served: %s", "the current version" if name is None else name, error)
            bad = bad or error
    raise bad or SegueError(f"{folder} has no versions")


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, (list, tuple, pl.Series)):
        return [plain(one) for one in value]
    return str(value)
