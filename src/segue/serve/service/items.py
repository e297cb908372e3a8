"""Items: what is known of them, similar ones, search, the map, and new items."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import numpy as np
import polars as pl

from segue.errors import DataError, SettingError, UnknownIdError
from segue.recommender.options import ListOptions
from segue.recommender.ranker import RankedLists, items_of
from segue.serve.events.base import StoreCommand
from segue.serve.events.journal import Journal
from segue.serve.events.validation import check_id
from segue.serve.payloads import FacetsPayload, ItemsPayload, MapPayload, SimilarPayload
from segue.serve.service.deadline import await_until
from segue.serve.service.loaded_model import LoadedModel
from segue.serve.service.new_items import to_json
from segue.serve.service.versions import ModelVersions


class ItemService:
    """Answers requests about items, and adds new ones."""

    def __init__(
        self,
        versions: ModelVersions,
        journal: Journal,
        refresh: Callable[[], Awaitable[None]],
        deadline: float,
    ) -> None:
        self._versions, self._journal = versions, journal
        self._refresh, self._deadline = refresh, deadline

    async def similar(self, item_id: str, options: ListOptions) -> SimilarPayload:
        """Return the items nearest to an item."""
        model = self._versions.active
        row = _row(model, item_id)
        recommender = model.recommender
        allow = recommender.filters.allowed(options)
        neighbors = await asyncio.to_thread(recommender.ranker.similar, np.array([row]), options.k, allow)
        rows, scores = items_of(RankedLists(neighbors.ids, neighbors.scores))
        return {
            "model_version": model.name,
            "item_id": recommender.items[row],
            "items": model.listed_items(rows, scores),
        }

    async def search(self, text: str, options: ListOptions) -> ItemsPayload:
        """Return the items that match a text."""
        model = self._versions.active
        recommender = model.recommender
        allow = recommender.filters.allowed(options)
        rows, scores = await asyncio.to_thread(recommender.text_search.find, text, options.k, allow=allow)
        return {
            "model_version": model.name,
            "items": model.listed_items(rows.tolist(), scores.tolist()),
        }

    def describe(self, item_id: str) -> dict[str, object]:
        """Return the metadata of an item and the number of its training users."""
        model = self._versions.active
        row = _row(model, item_id)
        return {
            "model_version": model.name,
            **model.item_details(row),
            "users": int(model.item_counts[row]),
        }

    async def add(self, item_id: str, features: Mapping[str, object], title: str | None) -> dict[str, object]:
        """Store a new item, placed by its features; it can be recommended when this returns."""
        model = self._versions.active
        recommender = model.recommender
        check_id(item_id, "item_id")
        if recommender.items.find(item_id) >= 0 and model.added == 0:
            raise SettingError(f"the item {item_id!r} is in the training data; only new items can be added")
        try:
            await asyncio.to_thread(recommender.with_items, [item_id], dict(features))
        except pl.exceptions.PolarsError as error:
            raise DataError(f"the features cannot be read: {error}") from error
        command = StoreCommand(item=(item_id, to_json(dict(features), title)))
        await await_until(self._journal.write(command), self._deadline)
        await self._refresh()
        return self.describe(item_id)

    async def map(self, limit: int) -> MapPayload:
        """Return the `limit` items with the most users, in two dimensions."""
        model = self._versions.active
        item_map = await asyncio.to_thread(lambda: model.item_map)
        counts = model.item_counts
        rows = np.argsort(-counts, kind="stable")[:limit].tolist()
        positions = item_map.positions[rows].tolist()
        return {
            "model_version": model.name,
            "items": [
                {
                    "item_id": item_id,
                    "title": title,
                    "x": round(x, 4),
                    "y": round(y, 4),
                    "users": int(counts[row]),
                }
                for (item_id, title), (x, y), row in zip(model.summaries(rows), positions, rows, strict=True)
            ],
        }

    async def facets(self) -> FacetsPayload:
        """Return what the items can be filtered by."""
        model = self._versions.active
        return {"model_version": model.name, "facets": await asyncio.to_thread(lambda: model.facets)}


def _row(model: LoadedModel, item_id: str) -> int:
    row = model.recommender.items.find(check_id(item_id, "item_id"))
    if row < 0:
        raise UnknownIdError(f"there is no item {item_id!r}")
    return row
