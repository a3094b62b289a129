"""Queries on what a project uses."""

from __future__ import annotations

from sqlalchemy import ColumnElement, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from api.auth.models import Project
from api.checkpoints.models import Checkpoint
from api.files.models import File
from api.jobs.models import Attempt, Job
from espo_contracts.job import JobStatus


async def lock_project(session: AsyncSession, project_id: str) -> None:
    """Has others that count the project's rows wait until the transaction ends; on SQLite a writer is alone.

    Whoever locks a job as well locks that first.
    """
    query = select(Project.id).where(Project.id == project_id)
    # New rows may refer to the project meanwhile: only its key must stay.
    await session.execute(query.with_for_update(key_share=True))


async def project(session: AsyncSession, project_id: str) -> Project:
    return await session.get_one(Project, project_id, populate_existing=True)


async def queued_jobs(session: AsyncSession, project_id: str) -> int:
    query = select(func.count()).where(Job.project_id == project_id, Job.status == JobStatus.QUEUED.value)
    return int(await session.scalar(query) or 0)


async def live_jobs(session: AsyncSession, project_id: str) -> int:
    """Jobs that have an attempt now, one that is about to begin too."""
    query = select(func.count()).select_from(Attempt).join(Job, Job.id == Attempt.job_id)
    query = query.where(Attempt.ended_at.is_(None), Job.project_id == project_id)
    return int(await session.scalar(query) or 0)


def has_room(default: int | None) -> ColumnElement[bool]:
    """True of jobs whose project runs fewer than it may; `default` is for projects without a limit."""
    other = aliased(Job)
    live = select(func.count()).select_from(Attempt).join(other, other.id == Attempt.job_id)
    live = live.where(Attempt.ended_at.is_(None), other.project_id == Job.project_id).correlate(Job)
    own = Project.max_running_jobs if default is None else func.coalesce(Project.max_running_jobs, default)
    limit = select(own).where(Project.id == Job.project_id).correlate(Job).scalar_subquery()
    return or_(limit.is_(None), live.scalar_subquery() < limit)


async def device_seconds(session: AsyncSession, project_id: str, *, since: float, now: float) -> float:
    """Seconds of all devices that the project's attempts have held in that time."""
    begin = case((Attempt.started_at < since, since), else_=Attempt.started_at)
    query = (
        select(Job.device, func.sum(func.coalesce(Attempt.ended_at, now) - begin))
        .join(Job, Job.id == Attempt.job_id)
        .where(Job.project_id == project_id, Attempt.started_at.is_not(None))
        .where(or_(Attempt.ended_at.is_(None), Attempt.ended_at > since))
        .group_by(Job.device)
    )
    rows = await session.execute(query)
    return sum((_devices(device) * float(seconds) for device, seconds in rows), 0.0)


def _devices(resources: str) -> int:
    """How many devices train together in a resource class such as `gpu.4`."""
    _, _, count = resources.partition(".")
    return int(count or 1)


async def stored_bytes(session: AsyncSession, project_id: str) -> int:
    """Bytes of the project's files and checkpoints, as its users see them."""
    files = select(func.sum(File.bytes)).where(File.project_id == project_id, File.deleted_at.is_(None))
    checkpoints = select(func.sum(Checkpoint.bytes)).join(Job, Job.id == Checkpoint.job_id)
    checkpoints = checkpoints.where(Job.project_id == project_id)
    return int(await session.scalar(files) or 0) + int(await session.scalar(checkpoints) or 0)
