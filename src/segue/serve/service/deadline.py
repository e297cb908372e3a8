"""Await a future until the deadline of the request."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from segue.serve.problems import DeadlineError

T = TypeVar("T")


async def await_until(future: asyncio.Future[T], seconds: float) -> T:
    """Return the result of a future; raises `DeadlineError` if it takes longer than `seconds`."""
    timer = asyncio.get_running_loop().call_later(seconds, _expire, future, seconds)
    try:
        return await future
    finally:
        timer.cancel()


def _expire(future: asyncio.Future[T], seconds: float) -> None:
    if not future.done():
        future.set_exception(
            DeadlineError(f"no answer within {seconds:g} seconds; request less, or try again later")
        )
