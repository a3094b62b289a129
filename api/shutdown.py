"""Lets the server stop while clients listen to live streams."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def called_at_stop_signals(close: Callable[[], None]) -> Iterator[None]:
    """Calls `close` when the process is told to stop, then whatever handled the signal before.

    uvicorn waits for every open answer before it ends the app's lifespan, where streams could be closed; an
    open dashboard would keep it from stopping for as long as its stream lasts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may listen to signals, and then it is not us who are told
        return
    loop = asyncio.get_running_loop()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(close)
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    # Where nobody listens the signal ends the process by itself, and must go on doing so.
    chained = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in chained:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in chained.items():
            signal.signal(number, handler)
