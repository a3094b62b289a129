from __future__ import annotations

import asyncio
import signal

from api.shutdown import called_at_stop_signals


async def test_streams_are_closed_and_the_server_is_told() -> None:
    closed = asyncio.Event()
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        with called_at_stop_signals(closed.set):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(closed.wait(), 5)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [signal.SIGTERM, signal.SIGTERM]


async def test_nobodys_signal_stays_nobodys() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with called_at_stop_signals(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
