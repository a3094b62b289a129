"""Which offered checkpoint is received by which process: the others leave it alone as long as that one lives.

Only against waste: two that receive the same offer, after Redis lost the hold, store the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from espo_contracts.wire import RECEIVING_SECONDS, receiving_key

_RENEW = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

log = logging.getLogger(__name__)


class Holds:
    """The offers that this process receives."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._token = uuid.uuid4().hex

    async def take(self, field: str) -> bool:
        """Whether the offer is ours to receive now: nobody had it."""
        return bool(await self._redis.set(receiving_key(field), self._token, nx=True, ex=RECEIVING_SECONDS))

    @contextlib.asynccontextmanager
    async def kept(self, field: str) -> AsyncIterator[None]:
        """Keeps an offer that was taken inside the block, and lets it go at its end."""
        renewing = asyncio.create_task(self._renew(field))
        try:
            yield
        finally:
            renewing.cancel()
            with contextlib.suppress(RedisError):  # it expires by itself
                await self._redis.register_script(_RELEASE)(keys=[receiving_key(field)], args=[self._token])

    async def _renew(self, field: str) -> None:
        arguments: list[Any] = [self._token, RECEIVING_SECONDS]
        while True:
            await asyncio.sleep(RECEIVING_SECONDS / 3)
            try:
                await self._redis.register_script(_RENEW)(keys=[receiving_key(field)], args=arguments)
            except RedisError as error:
                log.warning("%s: the hold is not renewed (%s)", field, error)
