"""Searches of one turn of the event loop, done together: one call of the index answers them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from segue.recommender.exclusions import ItemSets
from segue.recommender.facade import TrainedRecommender
from segue.serve.metrics import Metrics

MOST = 64  # queries of one search
LONG = 0.002  # seconds that a search may hold up the event loop; where one takes longer, a thread does it
TIMED = 5  # searches by which that is measured
Found = tuple[list[int], list[float]]  # rows of items and their scores, best first


class Query(NamedTuple):
    """One list that is wanted: a vector (dim,), zero for what is popular; the rows left out, sorted."""

    vector: np.ndarray
    left_out: np.ndarray
    done: asyncio.Future[Found]


class QueryBatcher:
    """The index of one version, asked by many at once.

    Queries wait until the event loop has read what has come in, or until the search before them is done, and
    are then answered by one search. Answers do not depend on which queries were asked together.
    """

    def __init__(self, recommender: TrainedRecommender, metrics: Metrics) -> None:
        self._recommender, self._metrics = recommender, metrics
        self._waiting: dict[tuple[int, int], tuple[np.ndarray | None, list[Query]]] = {}
        self._running = False
        self._thread: ThreadPoolExecutor | None = None

    def warm_up(self) -> None:
        """Compile and page in what searches use, and measure whether they may run in the event loop."""
        vectors = np.ascontiguousarray(self._recommender.embeddings.users[:MOST])
        if not len(vectors):
            vectors = np.ones((1, self._recommender.embeddings.dim), np.float32)
        nothing = np.empty(0, np.int32)
        everything = np.ones(len(self._recommender.items), bool)
        self._recommender.ranker.top(np.zeros_like(vectors[:1]), 10)
        self._search(vectors[:1], [nothing], 10, everything)
        times = []
        for _ in range(TIMED):
            begun = time.perf_counter()
            self._search(vectors[:1], [nothing], 10, None)
            times.append(time.perf_counter() - begun)
        if min(times) > LONG:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="segue-search")
        self._recommender.ranker.similar(np.zeros(1, np.int32), 10)

    def find(
        self, vector: np.ndarray, left_out: np.ndarray, k: int, allow: np.ndarray | None = None
    ) -> asyncio.Future[Found]:
        """Return a future of the k best items for a vector."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Found] = loop.create_future()
        if not self._waiting and not self._running:
            loop.call_soon(self._answer)
        key = (k, id(allow))
        group = self._waiting.get(key)
        if group is None:
            group = self._waiting[key] = (allow, [])
        group[1].append(Query(vector, left_out, done))
        return done

    def close(self) -> None:
        """End the thread, where there is one."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def _answer(self) -> None:
        """Answer what waits, here or in the thread."""
        waiting, self._waiting = self._waiting, {}
        work = [
            (k, allow, queries[first : first + MOST])
            for (k, _), (allow, queries) in waiting.items()
            for first in range(0, len(queries), MOST)
        ]
        if self._thread is None:
            for one in work:
                self._deliver(one[2], lambda one=one: self._all(*one))  # type: ignore[misc]
            return
        self._running = True
        task = asyncio.get_running_loop().create_task(self._in_thread(work))
        task.add_done_callback(self._go_on)

    async def _in_thread(self, work: list[tuple[int, np.ndarray | None, list[Query]]]) -> None:
        loop = asyncio.get_running_loop()
        for one in work:
            wanted = [query for query in one[2] if not query.done.done()]
            if not wanted:
                continue
            try:
                found = await loop.run_in_executor(self._thread, self._all, one[0], one[1], wanted)
            except Exception as error:  # noqa: BLE001 - it is raised where the answers are awaited
                self._deliver(wanted, lambda error=error: _raise(error))  # type: ignore[misc]
            else:
                self._deliver(wanted, lambda found=found: found)  # type: ignore[misc]

    def _go_on(self, task: asyncio.Task[None]) -> None:
        task.result()
        self._running = False
        if self._waiting:
            self._answer()

    def _deliver(self, queries: list[Query], work: Callable[[], list[Found]]) -> None:
        try:
            answers = work()
        except Exception as error:  # noqa: BLE001 - it is raised where the answers are awaited
            for query in queries:
                if not query.done.done():
                    query.done.set_exception(error)
            return
        for query, answer in zip(queries, answers, strict=True):
            if not query.done.done():
                query.done.set_result(answer)

    def _all(self, k: int, allow: np.ndarray | None, queries: list[Query]) -> list[Found]:
        vectors = np.array([query.vector for query in queries])
        return self._search(vectors, [query.left_out for query in queries], k, allow)

    def _search(
        self, vectors: np.ndarray, left_out: list[np.ndarray], k: int, allow: np.ndarray | None
    ) -> list[Found]:
        begun = time.perf_counter()
        recommender, metrics = self._recommender, self._metrics
        found = recommender.ranker.top(vectors, k, ItemSets(left_out, len(recommender.items)), allow)
        every, scores = found.ids.tolist(), found.scores.tolist()
        if every and min(ids[-1] for ids in every) < 0:
            counts = (found.ids >= 0).sum(1).tolist()
            every = [ids[:count] for ids, count in zip(every, counts, strict=True)]
        metrics.search.observe(time.perf_counter() - begun)
        metrics.queries.observe(len(vectors))
        metrics.examined.inc(float(found.examined.sum()))
        return list(zip(every, scores, strict=True))


def _raise(error: Exception) -> list[Found]:
    raise error
