"""The thread pool that runs all kernels. A kernel processes rows [start, stop) without the GIL."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event, Lock

_pool: ThreadPoolExecutor | None = None
_lock = Lock()


def available() -> int:
    """Return the number of threads to use: `SEGUE_THREADS`, or the CPUs available to this process."""
    setting = os.environ.get("SEGUE_THREADS", "")
    if setting.isdigit() and int(setting) > 0:
        return int(setting)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(work: Callable[[int, int], object], rows: int, *, chunk: int = 0, threads: int | None = None) -> None:
    """Call `work(start, stop)` from several threads on ranges that together cover `rows`.

    The calling thread works too, so nested and concurrent calls cannot deadlock.

    Args:
        work: the function to call; it must be safe to run on different ranges at once.
        rows: number of rows.
        chunk: rows per range; 0 for about eight ranges per thread.
        threads: number of threads; None for `available()`.

    Raises:
        Exception: the first error of `work`, after the other threads have finished their current range.
    """
    if 0 < rows <= chunk:
        work(0, rows)
        return
    threads = threads or available()
    chunk = chunk or max(1, -(-rows // (threads * 8)))
    ranges = -(-rows // chunk)
    counter = itertools.count()  # next() on it is atomic
    failed = Event()

    def drain() -> None:
        try:
            while not failed.is_set() and (index := next(counter)) < ranges:
                work(index * chunk, min(rows, (index + 1) * chunk))
        except BaseException:
            failed.set()  # no thread starts another range
            raise

    futures = [_shared_pool().submit(drain) for _ in range(min(threads, ranges) - 1)]
    try:
        drain()
    finally:
        wait([future for future in futures if not future.cancel()])
    for future in futures:
        if not future.cancelled():
            future.result()


def _shared_pool() -> ThreadPoolExecutor:
    global _pool  # created on first use
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="segue")
        return _pool


def _reset_pool() -> None:
    """Drop the pool in a forked child, which has none of its parent's threads."""
    global _pool, _lock
    _pool, _lock = None, Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_pool)
