"""Queries on checkpoints of a job. The caller has made sure that the job is the project's."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.checkpoints.models import Checkpoint


async def of_job(session: AsyncSession, job_id: str) -> Sequence[Checkpoint]:
    """Every checkpoint, by step."""
    query = select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step)
    return (await session.scalars(query)).all()


async def get(session: AsyncSession, job_id: str, step: int) -> Checkpoint | None:
    return await session.get(Checkpoint, (job_id, step))
