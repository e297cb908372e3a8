"""One pool of threads for all kernels: a kernel works on rows [start, stop) and lets go of the GIL."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event, Lock

_pool: ThreadPoolExecutor | None = None
_lock = Lock()


def available() -> int:
    """Count the threads to spread work over: `SEGUE_THREADS`, or the processors this process may use."""
    named = os.environ.get("SEGUE_THREADS", "")
    if named.isdigit() and int(named) > 0:
        return int(named)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(work: Callable[[int, int], object], rows: int, *, chunk: int = 0, threads: int | None = None) -> None:
    """Call `work(start, stop)` from several threads, on ranges of `chunk` that together cover `rows`.

    The calling thread works too, so a call from inside the pool, or many callers at once, cannot
    wait for each other. An error in any range is raised here, after the others have stopped.
    """
    if 0 < rows <= chunk:
        work(0, rows)
        return
    threads = threads or available()
    chunk = chunk or max(1, -(-rows // (threads * 8)))
    ranges = -(-rows // chunk)
    counter = itertools.count()  # next() on it is atomic
    broken = Event()

    def drain() -> None:
        try:
            while not broken.is_set() and (index := next(counter)) < ranges:
                work(index * chunk, min(rows, (index + 1) * chunk))
        except BaseException:
            broken.set()  # nobody begins another range
            raise

    helpers = [_shared_pool().submit(drain) for _ in range(min(threads, ranges) - 1)]
    try:
        drain()
    finally:
        wait([helper for helper in helpers if not helper.cancel()])
    for helper in helpers:
        if not helper.cancelled():
            helper.result()


def _shared_pool() -> ThreadPoolExecutor:
    global _pool  # one for the process, made when it is first needed
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="segue")
        return _pool


def _forget_pool() -> None:
    """A forked child has none of its parent's threads, so it makes a pool of its own."""
    global _pool, _lock
    _pool, _lock = None, Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
