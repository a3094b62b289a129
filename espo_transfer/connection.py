"""A Redis client whose every call ends in bounded time."""

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

_OUTAGE = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError)

BLOCK_SECONDS = 0.5
"""How long a blocking read may hang, and so how soon a stop event is seen."""


def will_pass(error: RedisError) -> bool:
    """Whether it passes by itself: no server, a full or a starting one, one whose disk is full."""
    return isinstance(error, _OUTAGE) or "MISCONF" in str(error)


def connect(url: str) -> Redis:
    """A client of the Redis at `url` that answers bytes; it opens no connection before its first call."""
    return Redis.from_url(
        url,
        socket_connect_timeout=5,
        # Above every blocking read of ours, below the patience of a heartbeat.
        socket_timeout=10,
        # A call that fails is an outage that the caller must see: a retry inside would hide it, and would
        # repeat a BLPOP whose answer was lost with the connection.
        retry=Retry(NoBackoff(), 0),
        # Half-open connections after a network cut are found before the call that needs them.
        health_check_interval=25,
    )
