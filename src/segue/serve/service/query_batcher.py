"""Batch concurrent queries: one search of the index answers all that arrive together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from segue.recommender.exclusions import NO_ITEMS, ItemSets
from segue.recommender.facade import TrainedRecommender
from segue.serve.metrics import Metrics

MAX_BATCH = 64  # queries per search
MAX_BLOCKING = 0.002  # seconds that a search may block the event loop; slower indexes search in a thread
TIMED_SEARCHES = 5  # searches that measure this
Ranking = tuple[list[int], list[float]]  # item rows and their scores, best first


class Query(NamedTuple):
    """A query: a vector (dim,), zero for popular items; sorted rows to exclude; the future of its ranking."""

    vector: np.ndarray
    exclude: np.ndarray
    done: asyncio.Future[Ranking]


class Batch(NamedTuple):
    """Queries that one search can answer: the same k and the same bitmap of allowed items."""

    k: int
    allow: np.ndarray | None
    queries: list[Query]


class QueryBatcher:
    """Searches the index of one version for many concurrent requests.

    Queries wait until the event loop has read the requests that have arrived, or until the running search is
    done, and are then answered by one search. Results do not depend on how queries are batched.
    """

    def __init__(self, recommender: TrainedRecommender, metrics: Metrics) -> None:
        self._recommender, self._metrics = recommender, metrics
        self._waiting: dict[tuple[int, int], Batch] = {}
        self._running = False
        self._thread: ThreadPoolExecutor | None = None

    def warm_up(self) -> None:
        """Compile and page in what searches use, and decide whether they run in the event loop."""
        vectors = np.ascontiguousarray(self._recommender.embeddings.users[:MAX_BATCH])
        if not len(vectors):
            vectors = np.ones((1, self._recommender.embeddings.dim), np.float32)
        all_items = np.ones(len(self._recommender.items), bool)
        self._recommender.ranker.top(np.zeros_like(vectors[:1]), 10)
        self._search(vectors[:1], [NO_ITEMS], 10, all_items)
        times = []
        for _ in range(TIMED_SEARCHES):
            start = time.perf_counter()
            self._search(vectors[:1], [NO_ITEMS], 10, None)
            times.append(time.perf_counter() - start)
        if min(times) > MAX_BLOCKING:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="segue-search")
        self._recommender.ranker.similar(np.zeros(1, np.int32), 10)

    def search(
        self, vector: np.ndarray, exclude: np.ndarray, k: int, allow: np.ndarray | None = None
    ) -> asyncio.Future[Ranking]:
        """Return a future of the k best items for a vector (dim,).

        Args:
            vector: the query; zeros for the most popular items.
            exclude: sorted int32 rows of items to exclude.
            k: the number of items.
            allow: a bitmap (items,) of allowed items, or None.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Ranking] = loop.create_future()
        if not self._waiting and not self._running:
            loop.call_soon(self._flush)
        key = (k, id(allow))
        batch = self._waiting.get(key)
        if batch is None:
            batch = self._waiting[key] = Batch(k, allow, [])
        batch.queries.append(Query(vector, exclude, done))
        return done

    def close(self) -> None:
        """Stop the search thread if there is one."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def _flush(self) -> None:
        """Answer all waiting queries, in the event loop or in the thread."""
        waiting, self._waiting = self._waiting, {}
        batches = [
            batch._replace(queries=batch.queries[first : first + MAX_BATCH])
            for batch in waiting.values()
            for first in range(0, len(batch.queries), MAX_BATCH)
        ]
        if self._thread is None:
            for batch in batches:
                _resolve(batch.queries, lambda batch=batch: self._search_batch(batch))  # type: ignore[misc]
            return
        self._running = True
        task = asyncio.get_running_loop().create_task(self._search_in_thread(batches))
        task.add_done_callback(self._continue)

    async def _search_in_thread(self, batches: list[Batch]) -> None:
        loop = asyncio.get_running_loop()
        for batch in batches:
            queries = [query for query in batch.queries if not query.done.done()]
            if not queries:
                continue
            work = loop.run_in_executor(self._thread, self._search_batch, batch._replace(queries=queries))
            try:
                rankings = await work
            except Exception as error:  # noqa: BLE001 - raised where the futures are awaited
                _fail(queries, error)
            else:
                _resolve(queries, lambda rankings=rankings: rankings)  # type: ignore[misc]

    def _continue(self, task: asyncio.Task[None]) -> None:
        task.result()
        self._running = False
        if self._waiting:
            self._flush()

    def _search_batch(self, batch: Batch) -> list[Ranking]:
        vectors = np.array([query.vector for query in batch.queries])
        return self._search(vectors, [query.exclude for query in batch.queries], batch.k, batch.allow)

    def _search(
        self, vectors: np.ndarray, exclude: list[np.ndarray], k: int, allow: np.ndarray | None
    ) -> list[Ranking]:
        start = time.perf_counter()
        recommender, metrics = self._recommender, self._metrics
        neighbors = recommender.ranker.top(vectors, k, ItemSets(exclude, len(recommender.items)), allow)
        rows, scores = neighbors.ids.tolist(), neighbors.scores.tolist()
        if rows and min(ids[-1] for ids in rows) < 0:
            counts = (neighbors.ids >= 0).sum(1).tolist()
            rows = [ids[:count] for ids, count in zip(rows, counts, strict=True)]
        metrics.search.observe(time.perf_counter() - start)
        metrics.queries.observe(len(vectors))
        metrics.examined.inc(float(neighbors.examined.sum()))
        return list(zip(rows, scores, strict=True))


def _resolve(queries: list[Query], work: Callable[[], list[Ranking]]) -> None:
    try:
        rankings = work()
    except Exception as error:  # noqa: BLE001 - raised where the futures are awaited
        _fail(queries, error)
        return
    for query, ranking in zip(queries, rankings, strict=True):
        if not query.done.done():
            query.done.set_result(ranking)


def _fail(queries: list[Query], error: Exception) -> None:
    for query in queries:
        if not query.done.done():
            query.done.set_exception(error)
