"""SIGKILL, of every process, at random instants and at those that hurt most."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any

import psutil

from espo_contracts.wire import UPLOADS_KEY, claim_key, job_key, run_key
from tests.chaos.fault import Fault, NothingToHarm
from tests.chaos.runs import Training, await_sight, children, kill_run, some_training, trainings
from tests.chaos.stack import Stack

IMPORT_SECONDS = 4.0
HOLD_SECONDS = 4.0
WORK_SECONDS = 12.0


def run_in_import(stack: Stack, rng: Random) -> None:
    """A run process that is still importing its libraries; the warm one is killed first where none is."""
    worker = stack.some_worker(rng)

    def importing() -> list[psutil.Process]:
        return [one for one in children(stack, worker) if _age(one) < IMPORT_SECONDS]

    if not importing() and (waiting := children(stack, worker)):
        waiting[-1].kill()
    found = await_sight(importing)
    time.sleep(rng.uniform(0.0, IMPORT_SECONDS / 2))
    _kill(found[-1])


def run_anywhere(stack: Stack, rng: Random) -> None:
    training = some_training(stack, rng)
    time.sleep(rng.uniform(0.0, 1.5))
    kill_run(stack, training)


def run_in_rollout(stack: Stack, rng: Random) -> None:
    training = some_training(stack, rng)
    step = _next_step(stack, training)
    time.sleep(rng.uniform(0.0, step["time/rollout_seconds"]))
    kill_run(stack, training)


def run_in_update(stack: Stack, rng: Random) -> None:
    training = some_training(stack, rng)
    step = _next_step(stack, training)
    time.sleep(step["time/rollout_seconds"] + rng.uniform(0.0, step["time/update_seconds"]))
    kill_run(stack, training)


def run_while_saving(stack: Stack, rng: Random) -> None:
    """The folder of a checkpoint is there, and not yet under its final name."""
    training = some_training(stack, rng)
    work = training.folder / "work"
    await_sight(lambda: list(work.glob(".checkpoint-*.partial")), pause=0.001)
    time.sleep(rng.uniform(0.0, 0.02))
    kill_run(stack, training)


def run_while_uploading(stack: Stack, rng: Random) -> None:
    training = _uploading(stack)
    time.sleep(rng.uniform(0.0, 0.1))
    kill_run(stack, training)


def worker(stack: Stack, rng: Random) -> None:
    name = stack.some_worker(rng)
    stack.restart(name, after_seconds=rng.uniform(0.0, 2.0))
    stack.wait_present(name)


def worker_while_uploading(stack: Stack, rng: Random) -> None:
    name = _uploading(stack).worker
    time.sleep(rng.uniform(0.0, 0.1))
    stack.restart(name, after_seconds=rng.uniform(0.0, 2.0))
    stack.wait_present(name)


def api(stack: Stack, rng: Random) -> None:
    stack.restart("api", after_seconds=rng.uniform(0.0, 2.0))
    stack.wait_ready()


def loop(name: str) -> Callable[[Stack, Random], None]:
    """Kills one of the loops at any instant, several times in a row as a crash that repeats does."""

    def inject(stack: Stack, rng: Random) -> None:
        for _ in range(rng.randint(1, 2)):
            time.sleep(rng.uniform(0.0, 2.0))
            stack.restart(name, after_seconds=rng.uniform(0.0, 1.0))

    return inject


def ingester_before_acknowledging(stack: Stack, rng: Random) -> None:
    """Events are in the database, and Redis has not been told.

    It stands still first, so that events wait for it: workers cannot send any while writes are held.
    """
    with ExitStack() as holding:
        with stack.stopped("ingest"):
            some_training(stack, rng)
            time.sleep(rng.uniform(0.5, 1.5))
            client = holding.enter_context(_writes_held(stack))
        await_sight(lambda: _unacknowledged(stack, client), seconds=HOLD_SECONDS)
        stack.restart("ingest")


def dispatcher_before_hinting(stack: Stack, rng: Random) -> None:
    """The attempt is in the database; its keys are not open and its hint is not sent.

    It stands still first, until a job waits and every attempt that it made is taken: then it has one to make.
    """
    stack.hurry.set()
    with stack.connect() as client, ExitStack() as holding:
        with stack.stopped("dispatch"):
            await_sight(lambda: _has_work_to_give(stack, client), seconds=WORK_SECONDS)
            holding.enter_context(_writes_held(stack))
        await_sight(lambda: _unopened(stack, client), seconds=HOLD_SECONDS)
        stack.restart("dispatch")


def api_before_answering(stack: Stack, rng: Random) -> None:
    """The job is in the database; nobody has been nudged and its owner has no answer."""
    before = stack.query("SELECT count(*) FROM jobs")
    with _writes_held(stack):
        stack.hurry.set()
        await_sight(lambda: stack.query("SELECT count(*) FROM jobs") != before, seconds=HOLD_SECONDS)
        stack.restart("api")
    stack.wait_ready()


def reconciler_before_reopening(stack: Stack, rng: Random) -> None:
    """Redis has lost a run's keys, and the reconciler dies between its new token and the keys' opening."""
    training = some_training(stack, rng)
    token = "SELECT opened FROM attempts WHERE job_id = ? AND number = ? AND ended_at IS NULL"
    before = stack.query(token, (training.job, training.attempt))
    with stack.connect() as client:
        client.delete(run_key(training.job), job_key(training.job))
    with _writes_held(stack):
        await_sight(
            lambda: stack.query(token, (training.job, training.attempt)) != before, seconds=HOLD_SECONDS
        )
        stack.restart("reconcile")


@contextmanager
def _writes_held(stack: Stack) -> Iterator[Any]:
    """Redis answers reads and lets every write wait: whoever commits stands between commit and telling."""
    with stack.connect() as client:
        client.client_pause(int(1000 * HOLD_SECONDS), all=False)
        try:
            yield client
        finally:
            client.client_unpause()


def _unacknowledged(stack: Stack, client: Any) -> bool:
    rows = stack.query("SELECT job_id, last_seq FROM attempts WHERE ended_at IS NULL")
    told = [(last_seq, client.hget(job_key(job), "committed")) for job, last_seq in rows]
    return any(committed is not None and json.loads(committed) < last_seq for last_seq, committed in told)


def _has_work_to_give(stack: Stack, client: Any) -> bool:
    live = stack.query("SELECT job_id, number FROM attempts WHERE ended_at IS NULL")
    waiting = {
        job for (job,) in stack.query("SELECT id FROM jobs WHERE status = 'queued' AND desired = 'run'")
    }
    is_taken = all(client.exists(claim_key(job, number)) for job, number in live)
    return is_taken and bool(waiting - {job for job, _ in live})


def _unopened(stack: Stack, client: Any) -> bool:
    rows = stack.query("SELECT job_id, number FROM attempts WHERE ended_at IS NULL")
    return any(client.hget(job_key(job), "attempt") != str(number).encode() for job, number in rows)


def _uploading(stack: Stack) -> Training:
    """A run that has a checkpoint on its way to the store."""
    with stack.connect() as client:

        def look() -> Training | None:
            jobs = {field.decode().partition(":")[0] for field in client.hkeys(UPLOADS_KEY)}
            return next((one for one in trainings(stack) if one.job in jobs), None)

        return await_sight(look, pause=0.005)


def _next_step(stack: Stack, training: Training) -> dict[str, float]:
    """The metrics of a step that ended just now: the next one has begun."""
    with stack.connect() as client:
        deadline = time.monotonic() + 4.0
        while time.monotonic() < deadline:
            found: Any = client.xread({run_key(training.job): "$"}, block=1000)
            for _, fields in found[0][1] if found else []:
                event = json.loads(fields.get(b"event", b"{}")).get("event", {})
                if event.get("type") == "metrics":
                    return dict(event["values"])
    raise NothingToHarm


def _age(process: psutil.Process) -> float:
    return time.time() - float(process.create_time())


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        raise NothingToHarm from None


FAULTS = (
    Fault(name="run process killed in import", inject=run_in_import, weight=3),
    Fault(name="run process killed anywhere", inject=run_anywhere, weight=3),
    Fault(name="run process killed in rollout", inject=run_in_rollout, weight=3),
    Fault(name="run process killed in update", inject=run_in_update, weight=3),
    Fault(name="run process killed while saving", inject=run_while_saving, weight=3),
    Fault(name="run process killed while uploading", inject=run_while_uploading, weight=3),
    Fault(name="worker killed", inject=worker, weight=2),
    Fault(name="worker killed while uploading", inject=worker_while_uploading),
    Fault(name="API killed", inject=api, weight=2),
    Fault(name="API killed between commit and answer", inject=api_before_answering),
    Fault(name="dispatcher killed", inject=loop("dispatch"), weight=2),
    Fault(name="dispatcher killed between commit and hint", inject=dispatcher_before_hinting),
    Fault(name="ingester killed", inject=loop("ingest"), weight=3),
    Fault(name="ingester killed between commit and acknowledgement", inject=ingester_before_acknowledging),
    Fault(name="reconciler killed", inject=loop("reconcile"), weight=2),
    Fault(name="reconciler killed between commit and reopening", inject=reconciler_before_reopening),
)
