"""How many hints the workers can use now."""

from __future__ import annotations

import logging

from pydantic import ValidationError
from redis.asyncio import Redis
from sqlalchemy import select

from api.jobs.models import Attempt, Job
from api.loops.context import Context
from espo_contracts.wire import Presence, claim_key, worker_key

log = logging.getLogger(__name__)


async def free_places(context: Context, resources: str) -> int:
    """Idle workers for a resource class, at least one, less the attempts that nobody has taken yet.

    At least one, because the hint for a worker that is still starting should wait for it in the queue.
    """
    idle = [worker for worker in await present(context.redis) if _is_idle(worker, resources)]
    return max(0, max(1, len(idle)) - await _untaken(context, resources))


async def present(redis: Redis) -> list[Presence]:
    """Every worker that listens."""
    keys = [key async for key in redis.scan_iter(match=worker_key("*"), count=1000)]
    values = await redis.mget(keys) if keys else []
    return [worker for value in values if value is not None and (worker := _presence(value)) is not None]


async def _untaken(context: Context, resources: str) -> int:
    """Live attempts without a claim and without a start."""
    query = (
        select(Attempt.job_id, Attempt.number)
        .join(Job, Job.id == Attempt.job_id)
        .where(Attempt.ended_at.is_(None), Attempt.started_at.is_(None), Job.device == resources)
    )
    async with context.database.read() as session:
        attempts = (await session.execute(query)).all()
    pipe = context.redis.pipeline(transaction=False)
    for job_id, number in attempts:
        pipe.exists(claim_key(job_id, number))
    return (await pipe.execute()).count(0)


def _is_idle(worker: Presence, resources: str) -> bool:
    return worker.state == "idle" and worker.serves(resources)


def _presence(value: bytes | str) -> Presence | None:
    try:
        return Presence.model_validate_json(value)
    except ValidationError:
        log.warning("a worker's presence cannot be read: %.200r", value)
        return None
