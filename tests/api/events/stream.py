"""A reader of the live event stream."""

from __future__ import annotations

import asyncio

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse


class Stream:
    """A live event stream that a test reads one entry at a time."""

    def __init__(self, base_url: str, client: httpx.AsyncClient, job_id: str, **headers: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url, headers={"authorization": client.headers["authorization"]}
        )
        self._path, self._headers = f"/v1/jobs/{job_id}/events", headers
        self.received: asyncio.Queue[ServerSentEvent | None] = asyncio.Queue()

    async def __aenter__(self) -> Stream:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._client.aclose()

    async def _read(self) -> None:
        async with aconnect_sse(self._client, "GET", self._path, headers=self._headers, timeout=20) as source:
            async for event in source.aiter_sse():
                self.received.put_nowait(event)
        self.received.put_nowait(None)

    async def next(self) -> ServerSentEvent | None:
        return await asyncio.wait_for(self.received.get(), 10)
