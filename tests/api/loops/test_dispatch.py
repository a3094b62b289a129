from __future__ import annotations

import asyncio
from dataclasses import replace

from api.auth.models import Project
from api.checkpoints.models import Checkpoint
from api.files.models import File
from api.jobs.lifecycle import Cause, lock_job, request_cancel
from api.loops.context import Context
from api.loops.dispatch import Dispatcher
from api.loops.hints import Hints
from espo_contracts.wire import RUNS_KEY, Hint, Presence, claim_key, run_key, worker_key
from tests.api.loops.actors import FakeHints, HandWorker, attempts_of, job_of
from tests.api.loops.conftest import MakeJob


async def arrive(
    context: Context, name: str, device: str = "cpu", state: str = "idle", devices: int = 1
) -> None:
    presence = Presence(worker=name, device=device, devices=devices, device_name=device, state=state)
    await context.redis.set(worker_key(name), presence.model_dump_json(), ex=60)


async def test_makes_the_attempt_opens_its_keys_and_hints(
    context: Context, make_job: MakeJob, hints: FakeHints
) -> None:
    job_id = await make_job()
    await Dispatcher(context, hints).dispatch()
    assert hints.sent == [Hint(job=job_id, attempt=1)]
    assignment = await HandWorker(context.redis, job_id).assignment()
    (attempt,) = await attempts_of(context.database, job_id)
    assert (assignment.attempt, assignment.committed, assignment.opened) == (1, 0, attempt.opened)
    assert assignment.spec.model.name == "tiny"
    assert await context.redis.smembers(RUNS_KEY) == {job_id.encode()}
    assert [name for name, _ in await context.redis.xrange(run_key(job_id))] == [b"1-0"]
    job = await job_of(context.database, job_id)
    assert (job.status, job.attempt) == ("queued", 1)


async def test_priority_then_age_decides(context: Context, make_job: MakeJob, hints: FakeHints) -> None:
    late = await make_job(created_at=2.0)
    early = await make_job(created_at=1.0)
    urgent = await make_job(created_at=3.0, priority=5)
    for name in ("a", "b", "c"):
        await arrive(context, name)
    await Dispatcher(context, hints).dispatch()
    assert [hint.job for hint in hints.sent] == [urgent, early, late]


async def test_hints_only_as_many_as_idle_workers(
    context: Context, make_job: MakeJob, hints: FakeHints
) -> None:
    jobs = [await make_job(created_at=float(age)) for age in range(4)]
    await arrive(context, "idle-1")
    await arrive(context, "idle-2")
    await arrive(context, "busy", state="busy")
    await arrive(context, "other", device="gpu")
    dispatcher = Dispatcher(context, hints)
    await dispatcher.dispatch()
    await dispatcher.dispatch()
    assert [hint.job for hint in hints.sent] == jobs[:2]
    await context.redis.set(claim_key(jobs[0], 1), "idle-1")
    await dispatcher.dispatch()
    assert [hint.job for hint in hints.sent] == jobs[:3]


async def test_without_workers_one_hint_waits_in_the_queue(
    context: Context, make_job: MakeJob, hints: FakeHints
) -> None:
    for _ in range(3):
        await make_job()
    await Dispatcher(context, hints).dispatch()
    assert len(hints.sent) == 1


async def test_jobs_for_several_devices_wait_for_workers_that_have_them(
    context: Context, make_job: MakeJob, hints: FakeHints
) -> None:
    wide = [await make_job(device="cpu.2", created_at=float(age)) for age in range(3)]
    narrow = [await make_job(created_at=9.0 + age) for age in range(3)]
    await arrive(context, "one")
    await arrive(context, "four", devices=4)
    await arrive(context, "gpus", device="gpu", devices=4)
    dispatcher = Dispatcher(context, hints)
    await dispatcher.dispatch()
    await dispatcher.dispatch()
    assert hints.classes == {wide[0]: "cpu.2", narrow[0]: "cpu", narrow[1]: "cpu"}


async def test_several_dispatchers_make_one_attempt(context: Context, make_job: MakeJob) -> None:
    jobs = [await make_job() for _ in range(4)]
    for index in range(4):
        await arrive(context, f"w{index}")
    all_hints = [FakeHints() for _ in range(3)]
    await asyncio.gather(*(Dispatcher(context, hints).dispatch() for hints in all_hints))
    sent = sorted(hint.job for hints in all_hints for hint in hints.sent)
    assert sent == sorted(jobs)
    assert [len(await attempts_of(context.database, job)) for job in jobs] == [1, 1, 1, 1]


async def test_carries_the_data_file_and_the_newest_checkpoint(
    context: Context, make_job: MakeJob, hints: FakeHints
) -> None:
    source = await make_job()
    file = {"name": "model.safetensors", "size": 3, "sha256": "a" * 64}
    row = {"attempt": 1, "created_at": 0.0, "bytes": 3, "files": [file], "metrics": {}}
    async with context.database.write() as session:
        job = await lock_job(session, source)
        assert job is not None
        await request_cancel(session, job, Cause(actor="user", reason="test"))
        session.add(Checkpoint(job_id=source, step=7, **row))
        fields = {"id": "file-1", "project_id": "project", "filename": "x.jsonl", "purpose": "fine-tune"}
        session.add(File(**fields, bytes=5, rows=1, sha256="b" * 64, created_at=0.0))
    job_id = await make_job(model={"checkpoint": {"job": source, "step": 7}}, file_id="file-1")
    async with context.database.write() as session:
        for step in (10, 20):
            session.add(Checkpoint(job_id=job_id, step=step, **row))
    await Dispatcher(context, hints).dispatch()
    assignment = await HandWorker(context.redis, job_id).assignment()
    assert assignment.data is not None
    assert assignment.data.model_dump() == {"name": "data.jsonl", "size": 5, "sha256": "b" * 64}
    assert assignment.base is not None
    assert (assignment.base.step, assignment.base.files[0].sha256) == (7, "a" * 64)
    assert assignment.resume is not None
    assert assignment.resume.step == 20


async def test_a_job_whose_base_is_gone_fails_and_says_so(
    context: Context, make_job: MakeJob, hints: FakeHints
) -> None:
    job_id = await make_job(model={"checkpoint": {"job": "job-" + "0" * 32, "step": 1}})
    await Dispatcher(context, hints).dispatch()
    job = await job_of(context.database, job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "data_error"
    assert "step 1" in job.error["message"]
    assert hints.sent == []
    (attempt,) = await attempts_of(context.database, job_id)
    assert attempt.outcome == "failed"


async def test_a_hint_reaches_the_queue_as_the_worker_expects_it(context: Context) -> None:
    hints = Hints(context.settings.redis_url)
    try:
        await hints.send(Hint(job="job-" + "0" * 32, attempt=2), "gpu")
        assert await hints.waiting("gpu") == 1
        assert await hints.waiting("cpu") == 0
        message = await context.redis.lindex("espo.gpu", 0)
        assert b'"task": "espo.train"' in message
    finally:
        await hints.close()


async def test_a_project_runs_no_more_than_it_may(
    context: Context, make_job: MakeJob, hints: FakeHints
) -> None:
    jobs = [await make_job(created_at=float(age)) for age in range(3)]
    async with context.database.write() as session:
        session.add(Project(id="other", name="other", created_at=0.0))
        (await session.get_one(Project, "project")).max_running_jobs = 1
    others = await make_job(created_at=9.0, project_id="other")
    for name in ("a", "b", "c", "d"):
        await arrive(context, name)
    dispatcher = Dispatcher(context, hints)
    await dispatcher.dispatch()
    await dispatcher.dispatch()
    assert [hint.job for hint in hints.sent] == [jobs[0], others]
    async with context.database.write() as session:
        job = await lock_job(session, jobs[0])
        assert job is not None
        await request_cancel(session, job, Cause(actor="user", reason="test"))
    await dispatcher.dispatch()
    assert [hint.job for hint in hints.sent] == [jobs[0], others, jobs[1]]


async def test_the_settings_limit_projects_that_have_none(
    context: Context, make_job: MakeJob, hints: FakeHints
) -> None:
    jobs = [await make_job(created_at=float(age)) for age in range(2)]
    for name in ("a", "b"):
        await arrive(context, name)
    settings = context.settings.model_copy(update={"max_running_jobs": 1})
    await Dispatcher(replace(context, settings=settings), hints).dispatch()
    assert [hint.job for hint in hints.sent] == jobs[:1]
