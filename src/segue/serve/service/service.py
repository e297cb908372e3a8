"""The service without HTTP: the generation that answers, the journal of events, and what joins them."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue import store
from segue.errors import DataError, SegueError, SettingError, UnknownIdError
from segue.online.interleaving import interleave
from segue.recommender.queries import Picks, UserQuery
from segue.recommender.ranker import items_of as items_of_list
from segue.serve.events.base import Event, StoreCommand, StoredEvent, checked_id, open_store
from segue.serve.events.journal import Journal
from segue.serve.explanations import why
from segue.serve.loaded_model import LoadedModel, newest_intact, open_loaded_model
from segue.serve.metrics import Metrics
from segue.serve.options import Wish
from segue.serve.problems import TooSlowError
from segue.serve.query_batcher import Found
from segue.serve.settings import Settings
from segue.serve.user_state import NOTHING, UserState, seen_of, start_of

LOOK = 0.5  # seconds between looks at CURRENT
log = logging.getLogger("segue")


class QueryContext(NamedTuple):
    """Who a list is for, as vectors: what each is worth, what is left out, and where they come from."""

    vectors: np.ndarray
    weights: np.ndarray
    left_out: np.ndarray
    source: str
    person: UserState | None = None  # whose profile it is


class Service:
    """Everything that answers requests; `start` it in an event loop, and `close` it there."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.limits = settings, settings.limits
        self.metrics = Metrics()
        self.ready = False
        self._active: LoadedModel | None = None
        self._refused: str | None = None  # a version that could not be served
        self._swapping = asyncio.Lock()

    @property
    def generation(self) -> LoadedModel:
        """The version that answers now."""
        if self._active is None:
            raise SettingError("the service has not been started")
        return self._active

    async def start(self) -> None:
        """Open store and model, warm up, and begin to follow both."""
        opened = await asyncio.to_thread(open_store, self.settings.events_url)
        try:
            self._known = await asyncio.to_thread(opened.users)
            added = await asyncio.to_thread(opened.items, 0)
        finally:
            opened.close()
        made = await asyncio.to_thread(
            newest_intact, self.settings.model, added, self.settings.profile, self.metrics
        )
        current = _current(self.settings.model)
        self._refused = None if current == made.version else current
        self._take(made)
        self.journal = Journal(lambda: open_store(self.settings.events_url), self._hear, self.metrics)
        # whoever wrote between the first look and this one is heard as well
        self._known |= await self.journal.read(lambda reader: reader.users(), _same)
        self._following = asyncio.get_running_loop().create_task(self._follow())
        self.ready = True

    async def close(self) -> None:
        """Write what waits, and let go of everything."""
        self.ready = False
        self._following.cancel()
        await self.journal.close()
        self.generation.searches.close()

    # Lists

    async def for_user(self, user_id: str, wish: Wish) -> dict[str, Any]:
        """Recommend to somebody: from their profile, or as trained, or what is popular."""
        generation = self.generation
        person = await self.person(generation, user_id)
        return await self._list(generation, self.asked_by(generation, user_id, person), wish)

    async def for_users(self, user_ids: Sequence[str], wish: Wish) -> dict[str, Any]:
        """Recommend to many, all from one version."""
        generation = self.generation
        people = [await self.person(generation, one) for one in user_ids]
        asked = [self.asked_by(generation, one, person) for one, person in zip(user_ids, people, strict=True)]
        lists = await asyncio.gather(*(self._list(generation, one, wish) for one in asked))
        told = [{"user_id": one, **made} for one, made in zip(user_ids, lists, strict=True)]
        return {"model_version": generation.name, "users": told}

    async def for_history(self, history: Mapping[str, float], wish: Wish) -> dict[str, Any]:
        """Recommend to somebody who is known by a history alone; items that are unknown do not count."""
        generation = self.generation
        recommender = generation.recommender
        ids, weights = list(history), np.array(list(history.values()), np.float32)
        if (weights < 0).any() or not np.isfinite(weights).all():
            raise DataError("the weights of a history must be finite numbers, none negative")
        rows = recommender.items.rows(ids)
        known = (rows >= 0) & (weights > 0)
        order = np.argsort(rows[known], kind="stable")
        columns = rows[known][order]
        folded = sp.csr_matrix(
            (weights[known][order], columns, np.array([0, len(columns)])), (1, len(recommender.items))
        )
        vectors = recommender.fold_in(folded)
        source = "history" if vectors.any() else "popular"
        return await self._list(
            generation, QueryContext(vectors, np.ones(1), np.unique(columns).astype(np.int32), source), wish
        )

    async def for_features(self, features: Mapping[str, Any], wish: Wish) -> dict[str, Any]:
        """Recommend to somebody of whom only features are known, such as their country."""
        generation = self.generation
        try:
            vectors = generation.recommender.users_of(features)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"the features cannot be read: {error}") from error
        if len(vectors) != 1:
            raise DataError(f"features of {len(vectors)} people came; give one value for each column")
        source = "features" if vectors.any() else "popular"
        return await self._list(generation, QueryContext(vectors, np.ones(1), NOTHING, source), wish)

    async def for_vector(self, vector: Sequence[float], wish: Wish) -> dict[str, Any]:
        """Recommend to a vector (dim,) of the model's own space."""
        generation = self.generation
        dim = generation.recommender.embeddings.dim
        with np.errstate(over="ignore"):
            made = np.array([vector], np.float32)
        if made.shape[1] != dim:
            raise DataError(f"the vector has {made.shape[1]} numbers; this version's have {dim}")
        if not np.isfinite(made).all():
            raise DataError("the vector must be of finite numbers that float32 can hold")
        return await self._list(generation, QueryContext(made, np.ones(1), NOTHING, "vector"), wish)

    async def panels(self, user_id: str, wish: Wish) -> dict[str, Any]:
        """Recommend to somebody in four ways at once: the best, by noise, of buckets, and diverse ones."""
        generation = self.generation
        person = await self.person(generation, user_id)
        asked = self.asked_by(generation, user_id, person)
        ways: dict[str, dict[str, Any]] = {
            "recommendations": {},
            "noise": {"explore": "gaussian"},
            "buckets": {"explore": "buckets"},
            "diverse": {"diversity": 0.5},
        }
        lists = [self._list(generation, asked, replace(wish, **how)) for how in ways.values()]
        told = await asyncio.gather(*lists)
        return {"model_version": generation.name, "user_id": user_id, **dict(zip(ways, told, strict=True))}

    async def similar(self, item_id: str, wish: Wish) -> dict[str, Any]:
        """Find the items nearest to an item."""
        generation = self.generation
        row = self._row(generation, item_id)
        allow = generation.filters.bitmap(wish.allow, wish.where)
        denied = generation.item_rows(wish.deny)
        if len(denied):
            allow = np.ones(len(generation.recommender.items), bool) if allow is None else allow.copy()
            allow[denied] = False
        found = await asyncio.to_thread(generation.recommender.ranker.similar, np.array([row]), wish.k, allow)
        count = int((found.ids[0] >= 0).sum())
        listed = (found.ids[0][:count].tolist(), found.scores[0][:count].tolist())
        return {"model_version": generation.name, "item_id": generation.recommender.items[row],
                "items": items_of(generation, listed)}  # fmt: skip

    async def search(self, text: str, wish: Wish) -> dict[str, Any]:
        """Find items by text."""
        generation = self.generation
        allow = generation.filters.bitmap(wish.allow, wish.where)
        find = generation.recommender.text_search.find
        rows, scores = await asyncio.to_thread(find, text, wish.k, allow=allow)
        found = rows.tolist(), scores.tolist()
        return {"model_version": generation.name, "items": items_of(generation, found)}

    # People, items and events

    async def keep(self, events: Sequence[Event]) -> dict[str, Any]:
        """Keep events; the answer comes when they are on the disk and have moved the profiles."""
        count = await self._in_time(self.journal.write(StoreCommand(events=tuple(events))))
        self.metrics.events.labels("new").inc(count)
        self.metrics.events.labels("known").inc(len(events) - count)
        items = self.generation.recommender.items
        unknown = [one.item_id for one in events if items.find(one.item_id) < 0]
        return {
            "model_version": self.generation.name,
            "accepted": count,
            "duplicates": len(events) - count,
            "unknown_items": list(dict.fromkeys(unknown))[:10],
        }

    async def forget(self, user_id: str) -> dict[str, Any]:
        """Delete all events of somebody."""
        count = await self._in_time(self.journal.write(StoreCommand(forget=checked_id(user_id, "user_id"))))
        return {"user_id": user_id, "events_deleted": count - 1}

    async def add_item(self, item_id: str, features: Mapping[str, Any], title: str | None) -> dict[str, Any]:
        """Keep a new item and place it by its features; it can be recommended when this returns."""
        generation = self.generation
        checked_id(item_id, "item_id")
        if generation.recommender.items.find(item_id) >= 0 and generation.added == 0:
            raise SettingError(
                f"the model knows the item {item_id!r} from training; only new items can be added"
            )
        try:
            await asyncio.to_thread(generation.recommender.with_items, [item_id], dict(features))
        except pl.exceptions.PolarsError as error:
            raise DataError(f"the features cannot be read: {error}") from error
        known = json.dumps({"features": dict(features), "title": title})
        await self._in_time(self.journal.write(StoreCommand(item=(item_id, known))))
        await self.refresh()
        return {"model_version": self.generation.name, **self.item(item_id)}

    async def person(self, generation: LoadedModel, user_id: str) -> UserState | None:
        """Return somebody who has done something since training, None for all others."""
        if self.settings.shared:
            waiting = self.journal.unheard()
            if waiting is not None:
                await self._in_time(asyncio.shield(waiting))
        if user_id not in self._known:
            return None
        found = generation.people.get(user_id)
        if found is None:
            row = generation.row_of(user_id)
            found = await self._in_time(
                self.journal.read(
                    lambda reader: generation.people.make(user_id, row, reader.of_user(user_id)),
                    lambda made: generation.people.keep(user_id, made),
                )
            )
        return found

    async def describe_user(self, user_id: str, trail: int = 100) -> dict[str, Any]:
        """Return what the service knows of somebody."""
        generation = self.generation
        person = await self.person(generation, checked_id(user_id, "user_id"))
        row = generation.row_of(user_id)
        deeds = [] if person is None else person.deeds[max(0, len(person.deeds) - trail) :]
        cards = {deed.row: generation.cards([deed.row])[0] for deed in deeds if deed.row >= 0}
        atlas = await asyncio.to_thread(lambda: generation.atlas)
        start = start_of(generation.recommender, generation.profile, row)
        path = await asyncio.to_thread(atlas.path, generation.profile, start, deeds)
        had = seen_of(generation.recommender, row)
        return {
            "model_version": generation.name,
            "user_id": user_id,
            "source": self.asked_by(generation, user_id, person).source,
            "trained": row >= 0,
            "trained_items": len(had),
            "events": [
                {
                    "item_id": cards[deed.row][0] if deed.row >= 0 else deed.item_id,
                    "title": cards[deed.row][1] if deed.row >= 0 else None,
                    "kind": deed.kind, "weight": deed.weight, "time": deed.time,
                    "place": atlas.places[deed.row].tolist() if deed.row >= 0 else None,
                }
                for deed in deeds
            ],
            "path": path,
        }  # fmt: skip

    def item(self, item_id: str) -> dict[str, Any]:
        """Return what is known of an item."""
        generation = self.generation
        row = self._row(generation, item_id)
        return {
            "model_version": generation.name,
            **generation.describe(row),
            "users": int(generation.counts[row]),
        }

    async def map(self, most: int) -> dict[str, Any]:
        """Return the items with most users, in two dimensions."""
        generation = self.generation
        atlas = await asyncio.to_thread(lambda: generation.atlas)
        counts = generation.counts
        rows = np.argsort(-counts, kind="stable")[:most].tolist()
        cards = generation.cards(rows)
        told = [
            {"item_id": item, "title": title, "x": round(x, 4), "y": round(y, 4), "users": int(counts[row])}
            for (item, title), (x, y), row in zip(cards, atlas.places[rows].tolist(), rows, strict=True)
        ]
        return {"model_version": generation.name, "items": told}

    async def facets(self) -> dict[str, Any]:
        """Return what the items can be filtered by."""
        generation = self.generation
        return {
            "model_version": generation.name,
            "facets": await asyncio.to_thread(lambda: generation.facets),
        }

    def model(self) -> dict[str, Any]:
        """Return what an operator wants to know of the version that answers."""
        generation = self.generation
        recommender = generation.recommender
        return {
            "model_version": generation.name,
            "model": repr(recommender.settings.model),
            "index": repr(recommender.settings.index),
            "index_chosen": repr(getattr(recommender.index, "index", recommender.index).settings),
            "index_measured": [asdict(row) for row in getattr(recommender.index, "measured", ())],
            "profile": repr(generation.profile.kind),
            "users": len(recommender.users),
            "items": len(recommender.items),
            "interactions": int(recommender.interactions.nnz),
            "dim": recommender.embeddings.dim,
            "columns": [] if recommender.item_metadata is None else recommender.item_metadata.columns,
            "metrics": {name: float(value) for name, value in recommender.metrics.items()},
            "people_with_events": len(self._known),
            "refused_version": self._refused,
        }

    def asked_by(self, generation: LoadedModel, user_id: str, person: UserState | None) -> QueryContext:
        """Return the vectors of somebody: of their profile, as trained, or of nobody."""
        if person is not None and person.moved:
            queries = person.queries()
            if len(queries.vectors):
                return QueryContext(queries.vectors, queries.weights, person.left_out, "profile", person)
        row = generation.row_of(user_id)
        recommender = generation.recommender
        left_out = seen_of(recommender, row) if person is None else person.left_out
        if generation.is_known(row):
            return QueryContext(recommender.embeddings.users[row : row + 1], ONE, left_out, "trained")
        return QueryContext(np.zeros((1, recommender.embeddings.dim), np.float32), ONE, left_out, "popular")

    # Versions

    async def refresh(self) -> None:
        """Take the current version with all added items, if it is another than what answers."""
        async with self._swapping:
            active = self.generation
            try:
                current = store.current_version(self.settings.model)
                if current == self._refused:
                    current = active.version
                added = await self.journal.read(lambda reader: reader.items(0), _same)
                latest = added[-1].id if added else 0
                if (current, latest) == (active.version, active.added):
                    return
                made = await asyncio.to_thread(
                    open_loaded_model,
                    self.settings.model,
                    added,
                    self.settings.profile,
                    self.metrics,
                    current,
                )
            except SegueError as error:
                self.metrics.swaps.labels("refused").inc()
                log.error("version %s stays: %s", active.name, error)
                self._refused = _current(self.settings.model)
                return
            self._take(made)
            active.searches.close()

    def _take(self, made: LoadedModel) -> None:
        """Answer from this generation from now on; requests that run keep the one they began with."""
        self._active = made
        gc.freeze()  # a version lives long: to look through it for cycles would hold up requests
        self.metrics.swaps.labels("taken").inc()
        self.metrics.model.set(int(made.version.split("-")[0]))
        log.info("serving version %s", made.name)

    async def _follow(self) -> None:
        """Look for a new version, and for items that another worker added."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.refresh()
            except Exception:
                log.exception("the model folder could not be followed")

    def _hear(self, events: list[StoredEvent]) -> None:
        """Take in events of all workers, in their order."""
        self._known.update(one.user_id for one in events)
        self.generation.people.hear(events)

    # What these share

    async def _list(self, generation: LoadedModel, asked: QueryContext, wish: Wish) -> dict[str, Any]:
        """Answer with a list for somebody."""
        self.metrics.listed(asked.source)
        allow = None
        if wish.allow is not None or wish.where:
            allow = generation.filters.bitmap(wish.allow, wish.where)
        left_out = asked.left_out if wish.exclude_seen else NOTHING
        if wish.deny:
            left_out = np.union1d(left_out, generation.item_rows(wish.deny)).astype(np.int32)
        k = min(wish.k, len(generation.recommender.items))
        if not wish.plain and asked.source != "popular":
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(None, chosen, generation, asked, wish, left_out, k, allow)
            told: dict[str, Any] = await self._in_time(work)
            return told
        finds = [generation.searches.find(vector, left_out, k, allow) for vector in asked.vectors]
        if len(finds) == 1:
            found = await self._in_time(finds[0])
        else:
            lists = [await self._in_time(one) for one in finds]
            rows, scores = zip(*lists, strict=True)
            found = interleave(rows, scores, asked.weights, k)
        return {
            "model_version": generation.name,
            "source": asked.source,
            "items": items_of(generation, found),
        }

    async def _in_time(self, waiting: asyncio.Future[Any]) -> Any:
        """Await something, at most until the deadline."""
        late = asyncio.get_running_loop().call_later(
            self.limits.deadline, _give_up, waiting, self.limits.deadline
        )
        try:
            return await waiting
        finally:
            late.cancel()

    def _row(self, generation: LoadedModel, item_id: str) -> int:
        row = generation.recommender.items.find(checked_id(item_id, "item_id"))
        if row < 0:
            raise UnknownIdError(f"there is no item {item_id!r}")
        return row


ONE = np.ones(1)


def chosen(
    generation: LoadedModel,
    asked: QueryContext,
    wish: Wish,
    left_out: np.ndarray,
    k: int,
    allow: np.ndarray | None,
) -> dict[str, Any]:
    """A list that is explored, diverse or explained; of several vectors, that which is worth most."""
    seed = secrets.randbits(31) if wish.seed is None else wish.seed
    options = replace(wish.list_options(seed), k=k)
    picks = Picks(asked.left_out, np.ones(len(asked.left_out)))
    query = UserQuery(asked.vectors, asked.weights, left_out, picks, 1)
    lists = generation.recommender.ranker.rank(query, options, allow)
    rows, scores = items_of_list(lists)
    items = items_of(generation, (rows, scores))
    told: dict[str, Any] = {"model_version": generation.name, "source": asked.source, "items": items}
    if lists.propensities is not None:
        told["explored"] = {"by": repr(options.explorer), "seed": seed}
        for item, propensity in zip(items, lists.propensities[0].tolist(), strict=False):
            item["propensity"] = propensity
    if wish.why:
        reasons = why(generation, asked.person, query.main, asked.left_out, rows)
        for item, one in zip(items, reasons, strict=True):
            item["why"] = one
    return told


def items_of(generation: LoadedModel, found: Found) -> list[dict[str, Any]]:
    """Items as an answer lists them."""
    rows, scores = found
    cards = generation.cards(rows)
    return [
        {"item_id": card[0], "score": score, "rank": rank, "title": card[1]}
        for rank, (card, score) in enumerate(zip(cards, scores, strict=False), 1)
    ]


def _current(folder: str) -> str | None:
    try:
        return store.current_version(folder)
    except SegueError:
        return None


def _give_up(waiting: asyncio.Future[Any], deadline: float) -> None:
    if not waiting.done():
        waiting.set_exception(
            TooSlowError(f"no answer within {deadline:g} seconds; ask for less, or again later")
        )


def _same(value: Any) -> Any:
    return value
