"""The service: opens the event store and the model, and joins the parts that answer requests."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import cast

from segue.serve.events.base import NewItem
from segue.serve.events.journal import Journal
from segue.serve.events.open import open_store
from segue.serve.metrics import Metrics
from segue.serve.payloads import MeasuredIndexPayload, ModelPayload
from segue.serve.service.items import ItemService
from segue.serve.service.lists import ListService
from segue.serve.service.users import UserEvents, UserService
from segue.serve.service.versions import ModelVersions
from segue.serve.settings import Settings


class Service:
    """Answers requests between `start` and `close`, which run in the same event loop.

    Attributes:
        settings, limits, metrics: as given, and the metrics of this worker.
        ready: whether it can answer requests.
        versions: the model version that is served.
        lists, users, items: answer requests; they exist after `start`.
    """

    lists: ListService
    users: UserService
    items: ItemService

    def __init__(self, settings: Settings) -> None:
        self.settings, self.limits = settings, settings.limits
        self.metrics = Metrics()
        self.ready = False
        self.versions = ModelVersions(settings, self.metrics)
        self._user_ids: set[str] = set()

    async def start(self) -> None:
        """Open the event store and the model, warm up, and start to follow both."""
        url, deadline = self.settings.events_url, self.limits.deadline
        store = await asyncio.to_thread(open_store, url)
        try:
            self._user_ids |= await asyncio.to_thread(store.users)
            added = await asyncio.to_thread(store.items, 0)
        finally:
            store.close()
        await self.versions.open(added)
        user_events = UserEvents(self.versions, self._user_ids)
        self._journal = Journal(lambda: open_store(url), user_events.apply, self.metrics)
        # users whose first events were written between the first read and the journal's start
        self._user_ids |= await self._journal.read(lambda reader: reader.users(), lambda users: users)
        self.users = UserService(self.versions, self._journal, self._user_ids, self.metrics, self.settings)
        self.items = ItemService(self.versions, self._journal, self._refresh, deadline)
        self.lists = ListService(self.versions, self.users, self.metrics, deadline)
        loop = asyncio.get_running_loop()
        self._following = loop.create_task(self.versions.follow(self._read_added))
        self.ready = True

    async def close(self) -> None:
        """Write queued events and close everything."""
        self.ready = False
        self._following.cancel()
        await self._journal.close()
        self.versions.close()

    def describe(self) -> ModelPayload:
        """Return the model version that is served, and its settings."""
        model = self.versions.active
        recommender = model.recommender
        index, metadata = recommender.index, recommender.item_metadata
        return {
            "model_version": model.name,
            "model": repr(recommender.settings.model),
            "index": repr(recommender.settings.index),
            "index_chosen": repr(getattr(index, "index", index).settings),
            "index_measured": [
                cast(MeasuredIndexPayload, asdict(row)) for row in getattr(index, "measured", ())
            ],
            "profile": repr(model.profile.kind),
            "users": len(recommender.users),
            "items": len(recommender.items),
            "interactions": int(recommender.interactions.nnz),
            "dim": recommender.embeddings.dim,
            "columns": [] if metadata is None else metadata.columns,
            "metrics": {name: float(value) for name, value in recommender.metrics.items()},
            "users_with_events": len(self._user_ids),
            "refused_version": self.versions.refused,
        }

    async def _refresh(self) -> None:
        await self.versions.refresh(self._read_added)

    async def _read_added(self) -> list[NewItem]:
        return await self._journal.read(lambda reader: reader.items(0), lambda items: items)
