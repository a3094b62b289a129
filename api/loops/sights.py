"""What Redis shows of a live attempt, and how long its worker has been silent."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis

from espo_contracts.wire import Beat, beat_key, claim_key, job_key, run_key

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One look at an attempt's keys; None where Redis has lost them."""

    attempt: int | None
    opened: str | None
    desired: str | None
    committed: int | None
    is_taken: bool
    """As the hash has it."""
    has_stream: bool
    is_claimed: bool
    beat: Beat | None
    """Of this attempt only."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """What the reconciler has seen of an attempt so far. Seconds are of listening, on its own clock."""

    count: int | None = None
    """Of the last beat."""
    silent_seconds: float = 0.0
    unclaimed_seconds: float = 0.0
    unsaved_seconds: float = 0.0
    """Since a beat was last written to the database."""
    misses: int = 0
    """Looks in a row that found the keys lost."""

    def listen(self, sight: Sight, *, is_claimed: bool, seconds: float) -> None:
        """Adds a look. A beat ends the silence when it is another than the last one."""
        count = sight.beat.count if sight.beat is not None else None
        is_new = count is not None and count != self.count
        self.count = count if is_new else self.count
        self.silent_seconds = 0.0 if is_new or not is_claimed else self.silent_seconds + seconds
        self.unclaimed_seconds = 0.0 if is_claimed else self.unclaimed_seconds + seconds
        self.unsaved_seconds += seconds


async def look(redis: Redis, attempts: Sequence[tuple[str, int]]) -> list[Sight]:
    """A sight of each (job, attempt), in one round trip."""
    pipe = redis.pipeline(transaction=False)
    for job_id, number in attempts:
        pipe.hmget(job_key(job_id), ["attempt", "opened", "desired", "committed", "is_taken"])
        pipe.exists(run_key(job_id))
        pipe.exists(claim_key(job_id, number))
        pipe.get(beat_key(job_id))
    answers = await pipe.execute()
    return [_sight(number, answers[4 * i : 4 * i + 4]) for i, (_, number) in enumerate(attempts)]


def _sight(number: int, answers: Sequence[Any]) -> Sight:
    fields, has_stream, is_claimed, beat = answers
    attempt, opened, desired, committed, is_taken = (value and json.loads(value) for value in fields)
    return Sight(
        attempt=attempt,
        opened=opened,
        desired=desired,
        committed=committed,
        is_taken=bool(is_taken),
        has_stream=bool(has_stream),
        is_claimed=bool(is_claimed),
        beat=_beat(number, beat),
    )


def _beat(number: int, document: bytes | None) -> Beat | None:
    if document is None:
        return None
    try:
        beat = Beat.model_validate_json(document)
    except ValidationError:
        log.warning("a beat of attempt %d cannot be read", number)
        return None
    return beat if beat.attempt == number else None
