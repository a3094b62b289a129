"""SIGKILL in mid-run: the job still ends, gapless, with the weights of an undisturbed run, bit for bit."""

from __future__ import annotations

import pytest

from espo_contracts.job import JobStatus
from tests.e2e.service import Service, job_document, wait_until
from tests.processes import lives

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def assert_as_undisturbed(service: Service, job: str, undisturbed: str) -> None:
    done = service.wait_finished(job)
    assert done.status is JobStatus.SUCCEEDED, done.error
    metrics = service.metrics(job)
    assert sorted(metrics) == list(range(1, 41)), "a gap in the metrics"
    assert metrics == service.metrics(undisturbed)
    assert service.final_weights(job) == service.final_weights(undisturbed)


def test_a_killed_run_process(service: Service, undisturbed: str) -> None:
    job = service.submit(job_document())
    service.reach_step(job, 7)
    for process in service.run_processes():
        process.kill()
    assert_as_undisturbed(service, job, undisturbed)
    assert service.job(job).attempt == 2


def test_a_killed_api(service: Service, undisturbed: str) -> None:
    job = service.submit(job_document())
    service.reach_step(job, 12)
    service.kill("api")
    service.start("api")
    service.wait_ready()
    assert_as_undisturbed(service, job, undisturbed)
    assert service.job(job).attempt == 1, "an outage of the API must not disturb the run"


def test_a_killed_worker(service: Service, undisturbed: str) -> None:
    job = service.submit(job_document())
    service.reach_step(job, 17)
    runs = service.run_processes()
    service.kill("worker")
    wait_until(lambda: not any(map(lives, runs)), seconds=5, what="the run dies with its worker")
    service.start("worker")
    assert_as_undisturbed(service, job, undisturbed)
    assert service.job(job).attempt == 2
