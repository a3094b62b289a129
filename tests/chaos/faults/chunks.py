"""Chunks that nobody sent: garbage, cut, doubled and reordered frames in the lists of transfers under way."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from redis import Redis

from espo_contracts.wire import chunks_key, requests_key
from tests.chaos.fault import Fault, NothingToHarm
from tests.chaos.stack import Stack

_PAUSE_SECONDS = 0.005
_EXPIRY_SECONDS = 5
"""What is written to a list after its transfer has ended must not stay."""

_Change = Callable[[bytes, Random], list[bytes]]


def _garbage(_: bytes, random: Random) -> list[bytes]:
    return [random.randbytes(random.randrange(64))]


def _damaged(frame: bytes, random: Random) -> list[bytes]:
    place = random.randrange(len(frame))
    return [frame[:place] + bytes([frame[place] ^ (1 + random.randrange(255))]) + frame[place + 1 :]]


def _cut(frame: bytes, random: Random) -> list[bytes]:
    return [frame[: random.randrange(len(frame))]]


def _twice(frame: bytes, _: Random) -> list[bytes]:
    return [frame, frame]


CHANGES: dict[str, _Change] = {
    "garbage": _garbage,
    "damaged": _damaged,
    "cut": _cut,
    "twice": _twice,
}


def spoiled(stack: Stack, rng: Random) -> None:
    """Chunks and requests of every transfer under way, in both directions, for a while."""
    ends_at, count = time.monotonic() + rng.uniform(2.0, 5.0), 0
    with stack.connect() as client:
        while time.monotonic() < ends_at:
            count += spoil_chunks(client, rng) + spoil_requests(client, rng)
            time.sleep(_PAUSE_SECONDS)
    if not count:
        raise NothingToHarm


def spoil_chunks(client: Redis, random: Random) -> int:
    """How many lists of chunks under way were spoiled now: one frame of each changed, and all reordered."""
    keys = sorted(client.scan_iter(match=chunks_key("*"), count=1000))
    return sum(_spoil(client, key, random) for key in keys)


def _spoil(client: Redis, key: bytes, random: Random) -> bool:
    frames = list(client.lpop(key, random.randrange(1, 5)) or [])  # type: ignore[arg-type]
    if not frames:
        return False
    victim = frames.pop(random.randrange(len(frames)))
    change = CHANGES[random.choice(sorted(CHANGES))] if victim else _garbage
    frames += change(victim, random)
    random.shuffle(frames)
    client.rpush(key, *frames)
    client.expire(key, _EXPIRY_SECONDS)
    return True


def spoil_requests(client: Redis, random: Random) -> int:
    """How many lists of requests were spoiled: garbage before what waits there, and one request doubled."""
    keys = sorted(client.scan_iter(match=requests_key("*"), count=1000))
    for key in keys:
        client.lpush(key, random.randbytes(random.randrange(1, 64)))
        doubled = client.lindex(key, -1)
        if doubled is not None:
            client.rpush(key, doubled)
        client.expire(key, _EXPIRY_SECONDS)
    return len(keys)


FAULTS = (Fault(name="chunks damaged, cut, doubled and reordered", inject=spoiled, weight=2),)
