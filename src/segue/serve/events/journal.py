"""The event journal of a worker: writes events in groups, and passes all events on in one order."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from segue.serve.events.base import EventStore, StoreCommand, StoredEvent
from segue.serve.metrics import Metrics
from segue.serve.problems import BusyError, StoreError

MAX_GROUP = 512  # commands per commit
MAX_QUEUED = 20_000  # commands waiting for a commit
BATCH = 10_000  # events per read
POLL_INTERVAL = 0.05  # seconds between checks for events of other processes
RowsT = TypeVar("RowsT")
ResultT = TypeVar("ResultT")
log = logging.getLogger("segue")


class PendingCommand(NamedTuple):
    """A command, and the future of its result."""

    command: StoreCommand
    done: asyncio.Future[int]


class Journal:
    """A writer thread and a reader thread, each with its own store.

    `apply` receives all events, of this process and of others, in the event loop and in the order of their
    ids, so that every worker applies the same events in the same order. The result of a write is set after
    the commit, when its events have been applied.
    """

    def __init__(
        self,
        open_store: Callable[[], EventStore],
        apply: Callable[[list[StoredEvent]], None],
        metrics: Metrics,
    ) -> None:
        self._apply, self._metrics = apply, metrics
        self._loop = asyncio.get_running_loop()
        self._writer, self._reader, self._watcher = open_store(), open_store(), open_store()
        self._commands: queue.Queue[PendingCommand | None] = queue.Queue(MAX_QUEUED)
        self._reads: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._last = self._reader.last()  # only the reader thread changes it
        self._queued: asyncio.Future[None] | None = None  # a catch-up that has not started
        self._latest: asyncio.Future[None] | None = None  # the catch-up that was requested last
        self._threads = [
            threading.Thread(target=work, name=f"segue-{name}", daemon=True)
            for name, work in (("writer", self._run_writer), ("reader", self._run_reader))
        ]
        for thread in self._threads:
            thread.start()
        self._polling = self._loop.create_task(self._poll())

    def write(self, command: StoreCommand) -> asyncio.Future[int]:
        """Queue a command; the future returns its number of new rows after its events have been applied."""
        done: asyncio.Future[int] = self._loop.create_future()
        try:
            self._commands.put_nowait(PendingCommand(command, done))
        except queue.Full:
            raise BusyError(f"{MAX_QUEUED:,} writes are already queued; send this one again later") from None
        return done

    def read(
        self, work: Callable[[EventStore], RowsT], then: Callable[[RowsT], ResultT]
    ) -> asyncio.Future[ResultT]:
        """Call `work` in the reader thread and `then` in the event loop, in order with applied events."""
        done: asyncio.Future[ResultT] = self._loop.create_future()

        def finish(rows: RowsT) -> None:
            result = then(rows)
            if not done.done():
                done.set_result(result)

        def run() -> None:
            try:
                rows = work(self._reader)
            except Exception as error:  # noqa: BLE001 - raised where the future is awaited
                self._call(_fail, [done], error)
            else:
                self._call(finish, rows)

        self._reads.put(run)
        return done

    def pending(self) -> asyncio.Future[None] | None:
        """Return a future that is done when all events committed so far are applied; None if they are."""
        if self._watcher.changed():
            return self.catch_up()
        return None if self._latest is None or self._latest.done() else self._latest

    def catch_up(self) -> asyncio.Future[None]:
        """Read new events; the future is done when all events committed before this call are applied."""
        queued = self._queued
        if queued is None:
            queued = self._queued = self._latest = self.read(self._catch_up, _identity)
        return queued

    async def close(self) -> None:
        """Write the queued commands, and stop the threads."""
        self._polling.cancel()
        self._commands.put(None)
        await asyncio.to_thread(self._threads[0].join)
        self._reads.put(None)
        await asyncio.to_thread(self._threads[1].join)
        for store in (self._writer, self._reader, self._watcher):
            store.close()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_INTERVAL)
            try:
                pending = self.pending()
                if pending is not None:
                    await asyncio.shield(pending)
            except StoreError as error:
                log.error("%s", error)
                await asyncio.sleep(20 * POLL_INTERVAL)

    def _catch_up(self, store: EventStore) -> None:
        self._queued = None  # later calls need another catch-up
        while rows := store.after(self._last, BATCH):
            self._last = rows[-1].id
            self._call(self._apply, rows)
            if len(rows) < BATCH:
                break

    def _run_writer(self) -> None:
        running = True
        while running:
            group = [self._commands.get()]
            while len(group) < MAX_GROUP and not self._commands.empty():
                group.append(self._commands.get_nowait())
            running = None not in group
            pending = [command for command in group if command is not None]
            if pending:
                self._commit(pending)

    def _commit(self, group: list[PendingCommand]) -> None:
        start = time.perf_counter()
        futures = [pending.done for pending in group]
        try:
            counts = self._writer.write([pending.command for pending in group])
        except Exception as error:  # noqa: BLE001 - raised where the futures are awaited
            self._call(_fail, futures, error)
            return
        self._metrics.commits.observe(time.perf_counter() - start)

        def finish() -> None:
            try:
                self._catch_up(self._reader)
            except StoreError as error:  # the events are stored; the next catch-up applies them
                log.error("%s", error)
            self._call(_succeed, futures, counts)

        self._reads.put(finish)

    def _run_reader(self) -> None:
        while (work := self._reads.get()) is not None:
            work()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(function, *arguments)


def _identity(value: ResultT) -> ResultT:
    return value


def _succeed(futures: list[asyncio.Future[int]], counts: list[int]) -> None:
    for future, count in zip(futures, counts, strict=True):
        if not future.done():
            future.set_result(count)


def _fail(futures: list[asyncio.Future[ResultT]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
