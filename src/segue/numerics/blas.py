"""BLAS on the calling thread alone: its own threads go on spinning where the kernels want to work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = RLock()  # one at a time, or two callers would give back each other's numbers


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Keep BLAS to one thread meanwhile, for short work, and give back the number it had."""
    with _lock, _controller().limit(limits=1):
        yield


@cache
def _controller() -> Any:
    """What numpy calculates with; looking for it takes milliseconds."""
    return ThreadpoolController().select(user_api="blas")
