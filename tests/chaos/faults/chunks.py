"""Chunks that nobody sent: garbage, cut, doubled and reordered frames in the lists of transfers under way."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from pydantic import ValidationError
from redis import Redis

from espo_contracts.wire import STORE_PLACE, UPLOADS_KEY, ChunkRequest, chunks_key, requests_key
from espo_transfer.frames import data_frame
from tests.chaos.fault import Fault, NothingToHarm
from tests.chaos.stack import Stack

_BLOCK_SECONDS = 0.05
_LONGEST_SECONDS = 8.0
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


WRONG: dict[str, Callable[[ChunkRequest, Random], list[bytes]]] = {
    "garbage": lambda _, rng: [rng.randbytes(200)],
    "other bytes": lambda one, rng: [data_frame(one.offset, rng.randbytes(one.length))],
    "too few": lambda one, rng: [data_frame(one.offset, rng.randbytes(one.length - 1))],
    "cut": lambda one, rng: [data_frame(one.offset, rng.randbytes(one.length))[: 1 + one.length // 2]],
    "of another place": lambda one, rng: [data_frame(one.offset + 1, rng.randbytes(one.length))] * 2,
    "nothing": lambda _, __: [],
}


def spoiled(stack: Stack, rng: Random) -> None:
    """Transfers under way, in both directions: somebody else answers, and what was answered is changed."""
    began, count, most = time.monotonic(), 0, rng.randint(1, 12)
    with stack.connect() as client:
        while time.monotonic() - began < _LONGEST_SECONDS and count < most:
            count += answer_wrongly(client, rng) + spoil_chunks(client, rng)
            if count:
                spoil_requests(client, rng)
    if not count:
        raise NothingToHarm


def answer_wrongly(client: Redis, rng: Random) -> int:
    """How many requests were taken from those who have the bytes, and answered with others, or not at all."""
    uploads = sorted(field.decode() for field in client.hkeys(UPLOADS_KEY))  # type: ignore[union-attr]
    places = [STORE_PLACE, *uploads]
    rng.shuffle(places)
    taken = client.blpop([requests_key(place) for place in places], timeout=_BLOCK_SECONDS)
    if taken is None:
        return 0
    try:
        request = ChunkRequest.model_validate_json(taken[1])  # type: ignore[index]
    except ValidationError:
        return 0  # our own garbage
    frames = WRONG[rng.choice(sorted(WRONG))](request, rng)
    if frames:
        client.rpush(chunks_key(request.transfer), *frames)
        client.expire(chunks_key(request.transfer), _EXPIRY_SECONDS)
    return 1


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
