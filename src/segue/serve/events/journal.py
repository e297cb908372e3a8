"""The journal of a worker: events written in groups, answered after the commit, heard in one order."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from segue.serve.events.base import Store, StoreCommand, StoredEvent
from segue.serve.metrics import Metrics
from segue.serve.problems import BusyError, StoreError

GROUP = 512  # writes of one commit
WAITING = 20_000  # writes that may wait for one
PAGE = 10_000  # events read at a time
POLL = 0.05  # seconds between looks for what others wrote
Found = TypeVar("Found")
log = logging.getLogger("segue")


class Waiting(NamedTuple):
    """A write, and the future that waits for it."""

    write: StoreCommand
    done: asyncio.Future[int]


class Journal:
    """Two threads with a store each: one writes, one reads.

    What was written, here or by others, is given to `heard` in the event loop, in the order of its ids: so
    every worker hears the same events in the same order. A write is answered when it is on the disk and was
    heard.
    """

    def __init__(
        self, opened: Callable[[], Store], heard: Callable[[list[StoredEvent]], None], metrics: Metrics
    ) -> None:
        self._heard, self._metrics = heard, metrics
        self._loop = asyncio.get_running_loop()
        self._writer, self._reader, self._watcher = opened(), opened(), opened()
        self._writes: queue.Queue[Waiting | None] = queue.Queue(WAITING)
        self._reads: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._last = self._reader.last()  # the reader's thread alone changes it
        self._queued: asyncio.Future[None] | None = None  # a look for events that has not begun
        self._latest: asyncio.Future[None] | None = None  # the look that was begun last
        self._threads = [
            threading.Thread(target=work, name=f"segue-{name}", daemon=True)
            for name, work in (("writer", self._write_all), ("reader", self._read_all))
        ]
        for thread in self._threads:
            thread.start()
        self._polling = self._loop.create_task(self._poll())

    def write(self, write: StoreCommand) -> asyncio.Future[int]:
        """Keep a write; the future tells how much was new, once it is on the disk and has been heard."""
        done: asyncio.Future[int] = self._loop.create_future()
        try:
            self._writes.put_nowait(Waiting(write, done))
        except queue.Full:
            raise BusyError(f"{WAITING:,} writes wait already; send this one again later") from None
        return done

    def read(self, work: Callable[[Store], Found], then: Callable[[Found], Any]) -> asyncio.Future[Any]:
        """Call `work` in the reader's thread, and `then` in the loop, in turn with events that are heard."""
        done: asyncio.Future[Any] = self._loop.create_future()

        def settle(found: Found) -> None:
            made = then(found)
            if not done.done():
                done.set_result(made)

        def reading() -> None:
            try:
                found = work(self._reader)
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
                self._tell(_fail, [done], error)
            else:
                self._tell(settle, found)

        self._reads.put(reading)
        return done

    def unheard(self) -> asyncio.Future[None] | None:
        """Return what to await so that all that was committed before now has been heard; None for nothing."""
        if self._watcher.changed():
            return self.catch_up()
        return None if self._latest is None or self._latest.done() else self._latest

    def catch_up(self) -> asyncio.Future[None]:
        """Return a future that is done when all that was committed before now has been heard."""
        waiting = self._queued
        if waiting is None:
            waiting = self._queued = self._latest = self.read(self._catch_up, _nothing)
        return waiting

    async def close(self) -> None:
        """Write what waits, and end."""
        self._polling.cancel()
        self._writes.put(None)
        await asyncio.to_thread(self._threads[0].join)
        self._reads.put(None)
        await asyncio.to_thread(self._threads[1].join)
        for store in (self._writer, self._reader, self._watcher):
            store.close()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL)
            try:
                waiting = self.unheard()
                if waiting is not None:
                    await asyncio.shield(waiting)
            except StoreError as error:
                log.error("%s", error)
                await asyncio.sleep(20 * POLL)

    def _catch_up(self, store: Store) -> None:
        self._queued = None  # whoever comes from now on needs another look
        while rows := store.after(self._last, PAGE):
            self._last = rows[-1].id
            self._tell(self._heard, rows)
            if len(rows) < PAGE:
                break

    def _write_all(self) -> None:
        running = True
        while running:
            group = [self._writes.get()]
            while len(group) < GROUP and not self._writes.empty():
                group.append(self._writes.get_nowait())
            running = None not in group
            waiting = [one for one in group if one is not None]
            if waiting:
                self._commit(waiting)

    def _commit(self, group: list[Waiting]) -> None:
        begun = time.perf_counter()
        futures = [one.done for one in group]
        try:
            counts = self._writer.write([one.write for one in group])
        except Exception as error:  # noqa: BLE001 - it is raised where the answers are awaited
            self._tell(_fail, futures, error)
            return
        self._metrics.commits.observe(time.perf_counter() - begun)

        def settle() -> None:
            try:
                self._catch_up(self._reader)
            except StoreError as error:  # the events are kept; they are heard with the next
                log.error("%s", error)
            self._tell(_answer, futures, counts)

        self._reads.put(settle)

    def _read_all(self) -> None:
        while (work := self._reads.get()) is not None:
            work()

    def _tell(self, what: Callable[..., Any], *values: Any) -> None:
        self._loop.call_soon_threadsafe(what, *values)


def _nothing(_: None) -> None:
    return None


def _answer(futures: list[asyncio.Future[int]], counts: list[int]) -> None:
    for done, count in zip(futures, counts, strict=True):
        if not done.done():
            done.set_result(count)


def _fail(futures: list[asyncio.Future[Any]], error: Exception) -> None:
    for done in futures:
        if not done.done():
            done.set_exception(error)
