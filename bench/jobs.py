"""Jobs put straight into a database, as a submission leaves them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from api.auth.models import Project
from api.db import Database
from api.ids import new_id
from api.jobs.lifecycle import Cause, submit
from api.jobs.models import Job
from espo_contracts.job import JobSpec

SPEC = {
    "model": {"name": "tiny"},
    "data": {"task": {"name": "countdown"}},
    "reward": [{"verifier": "countdown"}],
}


async def add_jobs(database: Database, priorities: Sequence[int], *, device: str = "cpu") -> list[str]:
    """Ids of queued jobs with these priorities, the first of them the oldest."""
    async with database.write() as session:
        project = Project(id=new_id("project"), name=new_id("bench"), created_at=time.time())
        session.add(project)
        await session.flush()
        jobs = [job_of(project.id, priority=priority, device=device) for priority in priorities]
        for job in jobs:
            await submit(session, job, Cause(actor="user", reason="bench"))
    return [job.id for job in jobs]


def job_of(project_id: str, *, priority: int = 0, device: str = "cpu", steps: int = 1) -> Job:
    """A job that is not stored yet."""
    document = JobSpec.model_validate(SPEC).model_dump(mode="json")
    return Job(
        id=new_id("job"),
        project_id=project_id,
        name="bench",
        tags=[],
        spec=document,
        resolved=document,
        algorithm="espo",
        model="tiny",
        device=device,
        priority=priority,
        max_attempts=1,
        total_steps=steps,
        latest={},
        created_at=time.time(),
    )
