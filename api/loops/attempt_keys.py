"""An attempt's keys in Redis: opened before its hint, acknowledged with each commit, closed at its end.

Only the API side makes and deletes them (espo_contracts/wire.py has the table). Every change but opening
checks first, inside Redis, that the hash still belongs to its attempt: a late caller changes nothing of the
next attempt, and nobody leaves half a hash where Redis lost the whole one.
"""

from __future__ import annotations

import json
from typing import Any

from redis.asyncio import Redis

from api.jobs.models import Job
from espo_contracts.job import Desired, JobStatus
from espo_contracts.wire import (
    NUDGE_CHANNEL,
    RUNS_KEY,
    Assignment,
    beat_key,
    claim_key,
    job_key,
    run_key,
    stream_id,
)

CLOSED_EXPIRY_SECONDS = 3600
"""How long a worker that was away can still read that its attempt is over, and a late second hint that it was
taken."""

_ACKNOWLEDGE = """
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'committed')) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'committed', ARGV[2])
  redis.call('XTRIM', KEYS[2], 'MINID', '=', ARGV[3])
end
return 1
"""

# A dispatcher may have been held up since its commit, and an older attempt must not displace a newer one.
_OPEN = """
local attempt = redis.call('HGET', KEYS[1], 'attempt')
if attempt and tonumber(attempt) > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('XADD', KEYS[2], ARGV[2], 'marker', ARGV[3])
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('SADD', KEYS[3], ARGV[4])
return 1
"""

# A hash without its stream is closed: an order to stop, which stays.
_TELL = """
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
"""

_CLOSE = """
local attempt = redis.call('HGET', KEYS[1], 'attempt')
if attempt and attempt ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('SREM', KEYS[5], ARGV[2])
redis.call('EXPIRE', KEYS[4], ARGV[4])
if attempt then
  redis.call('HSET', KEYS[1], 'desired', ARGV[3])
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end
return 1
"""


async def open_keys(redis: Redis, job_id: str, assignment: Assignment) -> bool:
    """Makes the attempt's keys anew, all at once: an empty stream after the watermark, and the assignment.

    False, with nothing changed, when a later attempt of the job is open.
    """
    keys = [job_key(job_id), run_key(job_id), RUNS_KEY]
    marker = stream_id(assignment.attempt, assignment.committed)
    fields = [part for field in assignment.to_hash().items() for part in field]
    args = [assignment.attempt, marker, assignment.opened, job_id, *fields]
    return bool(await _run(redis, _OPEN, keys, args))


async def acknowledge(redis: Redis, job_id: str, attempt: int, seq: int) -> None:
    """Tells the worker that events up to `seq` are in the database, and lets Redis forget them.

    The stream itself stays: as long as its key lives, Redis refuses ids that it has seen.
    """
    keys = [job_key(job_id), run_key(job_id)]
    await _run(redis, _ACKNOWLEDGE, keys, [attempt, seq, stream_id(attempt, seq + 1)])


async def tell_desired(redis: Redis, job_id: str, attempt: int, desired: Desired) -> None:
    """Tells the worker what the user wants."""
    keys = [job_key(job_id), run_key(job_id)]
    await _run(redis, _TELL, keys, [attempt, "desired", json.dumps(desired)])


async def tell_taken(redis: Redis, job_id: str, attempt: int) -> None:
    """Tells every worker that one of them has the attempt: a claim is forgotten after a day."""
    keys = [job_key(job_id), run_key(job_id)]
    await _run(redis, _TELL, keys, [attempt, "is_taken", json.dumps(True)])


async def close_keys(redis: Redis, job_id: str, attempt: int) -> None:
    """Deletes the keys of an attempt that is over; hash and claim stay an hour, as an order to stop."""
    keys = [job_key(job_id), run_key(job_id), beat_key(job_id), claim_key(job_id, attempt), RUNS_KEY]
    await _run(redis, _CLOSE, keys, [attempt, job_id, json.dumps(Desired.CANCEL), CLOSED_EXPIRY_SECONDS])


async def nudge(redis: Redis, job_id: str) -> None:
    """Wakes whoever listens for news of the job."""
    await redis.publish(NUDGE_CHANNEL, job_id)


async def announce(redis: Redis, job: Job) -> None:
    """Carries a committed change of status or wish to the job's worker and listeners.

    When it fails the change is not lost: the reconciler compares database and Redis every second.
    """
    if job.status == JobStatus.RUNNING:
        await tell_desired(redis, job.id, job.attempt, Desired(job.desired))
    elif job.status != JobStatus.QUEUED:
        await close_keys(redis, job.id, job.attempt)
    await nudge(redis, job.id)


async def _run(redis: Redis, script: str, keys: list[str], args: list[Any]) -> Any:
    return await redis.register_script(script)(keys=keys, args=args)
