"""Users: their events, the state of their profile, and what the service knows of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from segue.serve.events.base import Event, StoreCommand, StoredEvent
from segue.serve.events.journal import Journal
from segue.serve.events.validation import check_id
from segue.serve.metrics import Metrics
from segue.serve.payloads import EventsPayload, ForgetPayload, UserEventPayload, UserPayload
from segue.serve.service.deadline import await_until
from segue.serve.service.loaded_model import LoadedModel
from segue.serve.service.query_context import user_context
from segue.serve.service.user_state import UserEvent, UserState, start_vector, training_items
from segue.serve.service.versions import ModelVersions
from segue.serve.settings import Settings

MAX_UNKNOWN = 10  # unknown items listed in a response


class UserEvents:
    """Passes committed events on to the cached user states.

    Attributes:
        user_ids: all users with events.
    """

    def __init__(self, versions: ModelVersions, user_ids: set[str]) -> None:
        self._versions, self.user_ids = versions, user_ids

    def apply(self, events: list[StoredEvent]) -> None:
        """Apply events of all workers, in the order of their ids."""
        self.user_ids.update(event.user_id for event in events)
        self._versions.active.users.apply(events)


class UserService:
    """Stores events and reads user states."""

    def __init__(
        self,
        versions: ModelVersions,
        journal: Journal,
        user_ids: set[str],
        metrics: Metrics,
        settings: Settings,
    ) -> None:
        self._versions, self._journal, self._user_ids = versions, journal, user_ids
        self._metrics, self._shared, self._deadline = metrics, settings.shared, settings.limits.deadline

    async def add_events(self, events: Sequence[Event]) -> EventsPayload:
        """Store events; they are durable and have updated the profiles when this returns."""
        command = StoreCommand(events=tuple(events))
        accepted = await await_until(self._journal.write(command), self._deadline)
        self._metrics.events.labels("new").inc(accepted)
        self._metrics.events.labels("known").inc(len(events) - accepted)
        model = self._versions.active
        items = model.recommender.items
        unknown = [event.item_id for event in events if items.find(event.item_id) < 0]
        return {
            "model_version": model.name,
            "accepted": accepted,
            "duplicates": len(events) - accepted,
            "unknown_items": list(dict.fromkeys(unknown))[:MAX_UNKNOWN],
        }

    async def forget(self, user_id: str) -> ForgetPayload:
        """Delete all events of a user."""
        command = StoreCommand(forget=check_id(user_id, "user_id"))
        count = await await_until(self._journal.write(command), self._deadline)
        return {"user_id": user_id, "events_deleted": count - 1}  # the marker row does not count

    async def state(self, model: LoadedModel, user_id: str) -> UserState | None:
        """Return the state of a user, None if they have no events."""
        if self._shared:
            pending = self._journal.pending()
            if pending is not None:
                await await_until(asyncio.shield(pending), self._deadline)
        if user_id not in self._user_ids:
            return None
        state = model.users.get(user_id)
        if state is None:
            row = model.user_row(user_id)
            reading = self._journal.read(
                lambda store: model.users.build(row, store.of_user(user_id)),
                lambda state: model.users.put(user_id, state),
            )
            state = await await_until(reading, self._deadline)
        return state

    async def describe(self, user_id: str, limit: int) -> UserPayload:
        """Return what the service knows of a user, with their latest `limit` events."""
        model = self._versions.active
        user = await self.state(model, check_id(user_id, "user_id"))
        row = model.user_row(user_id)
        events = [] if user is None else user.events[max(0, len(user.events) - limit) :]
        payloads, path = await asyncio.to_thread(_trail, model, row, events)
        return {
            "model_version": model.name,
            "user_id": user_id,
            "source": user_context(model, user_id, user).source,
            "trained": row >= 0,
            "trained_items": len(training_items(model.recommender, row)),
            "events": payloads,
            "path": path,
        }


def _trail(
    model: LoadedModel, row: int, events: Sequence[UserEvent]
) -> tuple[list[UserEventPayload], list[list[float] | None]]:
    """The events of a user as payloads, and the path of their profile on the item map."""
    start = start_vector(model.recommender, model.profile, row)
    path = model.item_map.path(model.profile, start, events)
    positions = model.item_map.positions
    payloads: list[UserEventPayload] = []
    for event in events:
        known = event.row >= 0
        item_id, title = model.summaries([event.row])[0] if known else (event.item_id, None)
        payloads.append({
            "item_id": item_id, "title": title, "kind": event.kind, "weight": event.weight,
            "time": event.time, "position": positions[event.row].tolist() if known else None,
        })  # fmt: skip
    return payloads, path
