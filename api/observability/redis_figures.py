"""What Redis holds: events and chunks on their way, workers, signs of life."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis

from api.loops.workers import present
from espo_contracts.events import NumberedEvent
from espo_contracts.wire import (
    EVENT_FIELD,
    RUNS_KEY,
    STORE_PLACE,
    UPLOADS_KEY,
    Beat,
    Upload,
    beat_key,
    job_key,
    requests_key,
    run_key,
    stream_id,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Events of all runs that are in Redis and not in the database yet."""

    events: int
    oldest_seconds: float
    """Age of the oldest of them, by its worker's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFigures:
    """One look."""

    lag: Lag
    workers: Mapping[tuple[str, str], int]
    """By (device, state)."""
    spool_bytes: int
    stalled_seconds: float
    """The longest time since a run's last step."""
    uploads: Mapping[str, int]
    """Offered checkpoints by state."""
    credits: Mapping[str, int]
    """Chunks that a receiver has asked for and no sender has taken up, by direction."""
    memory_bytes: int
    memory_limit_bytes: int


async def look_at_redis(redis: Redis) -> RedisFigures:
    """The figures, in a few round trips."""
    members: set[Any] = await redis.smembers(RUNS_KEY)
    runs = sorted(member.decode() for member in members)
    beats = await _beats(redis, runs)
    uploads: dict[Any, Any] = await redis.hgetall(UPLOADS_KEY)
    memory: dict[str, Any] = await redis.info("memory")
    return RedisFigures(
        lag=await _lag(redis, runs),
        workers=Counter((worker.device, worker.state) for worker in await present(redis)),
        spool_bytes=sum(beat.spool_bytes for beat in beats),
        stalled_seconds=max((beat.progressed_seconds_ago for beat in beats), default=0.0),
        uploads=Counter(_state(document) for document in uploads.values()),
        credits=await _credits(redis, [field.decode() for field in uploads]),
        memory_bytes=int(memory["used_memory"]),
        memory_limit_bytes=int(memory.get("maxmemory", 0)),
    )


async def _beats(redis: Redis, runs: Sequence[str]) -> list[Beat]:
    documents: list[Any] = await redis.mget([beat_key(job) for job in runs]) if runs else []
    beats = []
    for document in filter(None, documents):
        try:
            beats.append(Beat.model_validate_json(document))
        except ValidationError:
            continue  # the reconciler logs it
    return beats


async def _lag(redis: Redis, runs: Sequence[str]) -> Lag:
    """Of what lies in the streams behind the watermarks, as far as Redis knows these."""
    pipe = redis.pipeline(transaction=False)
    for job in runs:
        pipe.hmget(job_key(job), ["attempt", "committed"])
    answers: list[Any] = await pipe.execute()
    known = [(job, mark) for job, mark in zip(runs, answers, strict=True) if None not in mark]
    marks = [(job, *map(json.loads, mark)) for job, mark in known]
    pipe = redis.pipeline(transaction=False)
    for job, attempt, committed in marks:
        pipe.xrange(run_key(job), min=f"({stream_id(attempt, committed)}", count=1)
        pipe.xrevrange(run_key(job), count=1)
    answers = await pipe.execute()
    lags = [_lag_of(*answers[2 * i : 2 * i + 2]) for i in range(len(marks))]
    return Lag(
        events=sum(lag.events for lag in lags),
        oldest_seconds=max((lag.oldest_seconds for lag in lags), default=0.0),
    )


def _lag_of(first: Sequence[Any], last: Sequence[Any]) -> Lag:
    if not first:
        return Lag(events=0, oldest_seconds=0.0)
    (first_id, fields), (last_id, _) = first[0], last[0]
    events = _seq(last_id) - _seq(first_id) + 1
    return Lag(events=events, oldest_seconds=_age(fields.get(EVENT_FIELD.encode(), b"")))


def _age(document: bytes) -> float:
    try:
        return max(0.0, time.time() - NumberedEvent.model_validate_json(document).time)
    except ValidationError:
        return 0.0  # the ingester ends its job for it


def _seq(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[2])


def _state(document: bytes) -> str:
    try:
        return Upload.model_validate_json(document).state
    except ValidationError:
        return "unreadable"


async def _credits(redis: Redis, uploads: Sequence[str]) -> dict[str, int]:
    pipe = redis.pipeline(transaction=False)
    for place in [STORE_PLACE, *uploads]:
        pipe.llen(requests_key(place))
    download, *upload = await pipe.execute()
    return {"download": download, "upload": sum(upload)}


async def hints_waiting(broker: Redis, queues: Mapping[str, str]) -> dict[str, int]:
    """Hints that no worker has taken, by resource class; `queues` names the queue of each."""
    pipe = broker.pipeline(transaction=False)
    for queue in queues.values():
        pipe.llen(queue)
    return dict(zip(queues, await pipe.execute(), strict=True))
