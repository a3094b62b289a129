"""Questions to a dependency that end in bounded time, however it hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, question: Coroutine[Any, Any, T]) -> T:
    """The answer.

    Not by `asyncio.timeout`, which waits for the end of what it cancels: redis-py loses a cancellation that
    comes while it connects, and a thread cannot be cancelled at all.

    Raises:
        TimeoutError: there was none in time; the question is cancelled and left to itself.
    """
    task = asyncio.create_task(question)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if done:
        return task.result()
    task.add_done_callback(_forget)
    task.cancel()
    raise TimeoutError(f"no answer in {seconds:g} s")


def _forget(task: asyncio.Task[Any]) -> None:
    """Looks at the late end, so that nobody is warned of an exception that was never looked at."""
    if not task.cancelled():
        task.exception()
