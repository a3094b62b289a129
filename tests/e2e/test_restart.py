"""Stops that are asked for: nothing is done twice, and the weights are those of an undisturbed run."""

from __future__ import annotations

import signal

import pytest
from redis import Redis

from espo_contracts.job import JobStatus
from espo_contracts.wire import Presence
from tests.e2e.service import Service, job_document, wait_until
from tests.e2e.test_kill import assert_as_undisturbed
from tests.e2e.user import Onlooker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECOND = "worker-2"


def steps_done_twice(service: Service, job: str) -> int:
    with service.client as client:
        return sum(event.is_superseded for event in client.past_events(job) if event.type == "metrics")


def stop(service: Service, name: str) -> None:
    """SIGTERM, as `docker compose up` and systemd do."""
    process = service.processes.pop(name)
    process.send_signal(signal.SIGTERM)
    # uvicorn hands the signal on once it has ended in order.
    assert process.wait(timeout=60) in {0, -signal.SIGTERM}, service.log(name)


def busy(service: Service) -> str:
    """Name of the worker that has a job."""

    def found() -> str | None:
        with Redis.from_url(service.redis_url) as client:
            documents = [client.get(key) for key in client.keys("espo:worker:*")]
        presences = [Presence.model_validate_json(document) for document in documents if document]
        names = [one.worker for one in presences if one.state == "busy"]
        return (SECOND if names[0].startswith(SECOND) else "worker") if names else None

    return wait_until(found, seconds=60, what="a worker has the job")


def test_a_paused_job_goes_on_exactly_where_it_stopped(service: Service, undisturbed: str) -> None:
    job = service.submit(job_document())
    service.reach_step(job, 7)
    with service.client as client:
        client.pause(job)
        wait_until(lambda: service.job(job).status is JobStatus.PAUSED, seconds=60, what="the job rests")
        step = service.job(job).progress.step
        assert step >= 7
        assert client.checkpoint(job).step == step
        client.resume(job)
    assert_as_undisturbed(service, job, undisturbed)
    assert service.job(job).attempt == 2
    assert steps_done_twice(service, job) == 0


@pytest.mark.parametrize("service", ["sqlite"], indirect=True)
def test_a_rolling_restart_of_everything_is_not_noticed(service: Service, undisturbed: str) -> None:
    service.changes[SECOND] = {"ESPO_WORKER_NAME": SECOND}
    service.start(SECOND)
    with Redis.from_url(service.redis_url) as client:
        wait_until(
            lambda: client.exists(f"espo:worker:{SECOND}-1"), seconds=90, what="the second worker is ready"
        )
    job = service.submit(job_document())
    with Onlooker(service.base_url, service.api_key, job) as onlooker:
        for step in (5, 13):
            service.reach_step(job, step)
            name = busy(service)
            stop(service, name)
            service.start(name)
        service.reach_step(job, 20)
        stop(service, "api")
        service.start("api")
        service.wait_ready()
        assert_as_undisturbed(service, job, undisturbed)
    stop(service, SECOND)
    assert onlooker.errors == []
    assert onlooker.looks > 10
    assert service.job(job).attempt == 3
    assert steps_done_twice(service, job) == 0
