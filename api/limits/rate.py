"""The rate limit of a key: a bucket that refills steadily, kept as one time (GCRA).

The time is when the bucket will be full again. A request moves it on by one interval, and is refused where
that would be more than a whole window ahead. Our own instead of the library `limits`, whose window and
figures for the headers take two calls of Redis and 0.28 ms of processor time a request; this takes one call.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.errors import Code, DomainError
from api.limits.settings import LimitSettings

_MOST_BUCKETS = 100_000
_REDIS_SECONDS = 0.1
_PAUSE_SECONDS = 1.0

# Redis's clock, so that processes on several machines count alike.
_TAKE = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
local full = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0')) + ARGV[1]
if full - now > tonumber(ARGV[2]) then return {0, tostring(full - now)} end
redis.call('SET', KEYS[1], string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000))
return {1, tostring(full - now)}
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many requests in so many seconds."""

    requests: int
    seconds: int

    @property
    def interval(self) -> float:
        return self.seconds / self.requests

    @property
    def most(self) -> float:
        """How far ahead a bucket may be full, in seconds; with grace, for sums of fractions are not exact."""
        return self.seconds + min(self.interval / 2, 0.001)

    @property
    def policy(self) -> str:
        """Value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"key";q={self.requests};w={self.seconds}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a request may pass, and how the bucket stands after it."""

    rate: Rate
    is_allowed: bool
    full_in: float
    """Seconds until the bucket is full, as this request would leave it."""

    @property
    def remaining(self) -> int:
        """Requests that may come at once."""
        spare = (self.rate.seconds - self.full_in) / self.rate.interval
        return max(0, math.floor(spare + 0.5)) if self.is_allowed else 0

    @property
    def retry_after(self) -> int:
        """Whole seconds after which a refused request passes."""
        return max(1, math.ceil(self.full_in - self.rate.seconds))

    @property
    def state(self) -> str:
        """Value of `RateLimit`."""
        return f'"key";r={self.remaining};t={math.ceil(self.full_in)}'


class Limiter(Protocol):
    """Counts requests by key."""

    async def take(self, key_id: str) -> Verdict | None:
        """The verdict on one request now; None where nobody can tell, and it may pass."""


class NoLimiter:
    """Lets everything pass."""

    async def take(self, key_id: str) -> Verdict | None:
        del key_id
        return None


class MemoryLimiter:
    """Counts in this process."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._full_at: dict[str, float] = {}

    async def take(self, key_id: str) -> Verdict:
        now = self._clock()
        full_in = max(0.0, self._full_at.get(key_id, 0.0) - now) + self._rate.interval
        is_allowed = full_in <= self._rate.most
        if is_allowed:
            self._keep(key_id, now + full_in, now)
        return Verdict(rate=self._rate, is_allowed=is_allowed, full_in=full_in)

    def _keep(self, key_id: str, full_at: float, now: float) -> None:
        if len(self._full_at) >= _MOST_BUCKETS:
            self._full_at = {name: moment for name, moment in self._full_at.items() if moment > now}
        self._full_at[key_id] = full_at


class RedisLimiter:
    """Counts in Redis, for several processes together. Where Redis does not answer, everything passes."""

    def __init__(self, rate: Rate, redis: Redis) -> None:
        self._rate = rate
        self._take = redis.register_script(_TAKE)
        self._asks_from = 0.0

    async def take(self, key_id: str) -> Verdict | None:
        if time.monotonic() < self._asks_from:
            return None
        try:
            async with asyncio.timeout(_REDIS_SECONDS):
                is_allowed, full_in = await self._take(
                    keys=[f"espo:rate:{key_id}"], args=[self._rate.interval, self._rate.most]
                )
        except (RedisError, OSError, TimeoutError) as error:
            # Not asked again for a while: an outage must not slow every request.
            self._asks_from = time.monotonic() + _PAUSE_SECONDS
            log.warning("requests are not counted, Redis does not answer: %s", type(error).__name__)
            return None
        return Verdict(rate=self._rate, is_allowed=bool(is_allowed), full_in=float(full_in))


def too_many_requests(verdict: Verdict) -> DomainError:
    """The answer to a request that the limit refuses."""
    rate, seconds = verdict.rate, verdict.retry_after
    message = f"this key sent more than {rate.requests} requests in {rate.seconds} s; wait {seconds} s"
    return DomainError(
        Code.RATE_LIMITED,
        message,
        headers={"retry-after": str(seconds)},
        members={"limit": {"name": "requests", "limit": rate.requests, "frees_at": time.time() + seconds}},
    )


def open_limiter(settings: LimitSettings, redis: Redis) -> Limiter:
    """The limiter that the settings want."""
    if not settings.rate_limit_requests:
        return NoLimiter()
    rate = Rate(requests=settings.rate_limit_requests, seconds=settings.rate_limit_seconds)
    return RedisLimiter(rate, redis) if settings.rate_limit_store == "redis" else MemoryLimiter(rate)
