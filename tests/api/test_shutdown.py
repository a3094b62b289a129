from __future__ import annotations

import asyncio
import signal

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.middleware import RequestIds
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


@pytest.mark.parametrize("is_begun", [False, True])
async def test_a_request_that_the_server_gives_up_may_be_sent_again(is_begun: bool) -> None:
    """uvicorn cancels what is not done in time, and answers 500 where nothing was answered."""
    reached, sent = asyncio.Event(), list[Message]()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        if is_begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        reached.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    request = asyncio.create_task(RequestIds(endless)(scope, receive, send))
    await reached.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert [message["status"] for message in starts] == [200 if is_begun else 503]
    assert is_begun or (b"retry-after", b"1") in starts[0]["headers"]
