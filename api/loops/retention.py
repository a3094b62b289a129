"""Which checkpoints a job keeps: the newest `schedule.keep`, and beside them the best and the pinned ones."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.checkpoints.models import Checkpoint
from api.checkpoints.quality import best
from api.jobs.models import Job
from espo_contracts.job import JobStatus


async def prune(session: AsyncSession, job: Job) -> None:
    """Deletes the rows of checkpoints that are kept no longer; their bytes go with a later sweep.

    The newest is always among those kept, so what an attempt continues from stays until it wrote its own, and
    the last of a job that has ended stays with it.
    """
    rows = select(Checkpoint).where(Checkpoint.job_id == job.id).order_by(Checkpoint.step)
    checkpoints = (await session.scalars(rows)).all()
    keep = job.resolved["schedule"]["keep"]
    kept_best = best(checkpoints)
    surplus = {row.step for row in checkpoints[:-keep] if row is not kept_best and not row.is_pinned}
    surplus -= await _bases(session, job) if surplus else set()
    if surplus:
        await session.execute(
            delete(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step.in_(surplus))
        )


async def _bases(session: AsyncSession, job: Job) -> set[int]:
    """Steps that unfinished jobs start from."""
    base = Job.resolved["model"]["checkpoint"]
    over = [status.value for status in JobStatus if status.is_terminal]
    query = select(base["step"].as_integer()).where(
        base["job"].as_string() == job.id, Job.status.not_in(over), Job.project_id == job.project_id
    )
    return set(await session.scalars(query))
