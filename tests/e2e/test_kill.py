"""SIGKILL in mid-run: the job still ends, gapless, with the weights of an undisturbed run, bit for bit."""

from __future__ import annotations

import pytest

from tests.e2e.service import Service, job_document, wait_until

pytestmark = pytest.mark.slow


def reach_step(service: Service, job: str, step: int) -> None:
    wait_until(
        lambda: service.job(job)["progress"]["step"] >= step, seconds=60, what=f"{job} reaches step {step}"
    )


def assert_as_undisturbed(service: Service, job: str, undisturbed: str) -> None:
    done = service.wait_finished(job)
    assert done["status"] == "succeeded", done
    steps = [point["step"] for point in service.metrics(job)]
    assert steps == list(range(1, 41)), "a gap or a double in the metrics"
    assert service.metrics_without_times(job) == service.metrics_without_times(undisturbed)
    assert service.final_weights(job) == service.final_weights(undisturbed)


@pytest.fixture
def undisturbed(service: Service) -> str:
    job = service.submit(job_document())
    assert service.wait_finished(job)["status"] == "succeeded"
    return job


@pytest.mark.parametrize("step", [3, 17])
def test_the_run_process_is_killed(service: Service, undisturbed: str, step: int) -> None:
    job = service.submit(job_document())
    reach_step(service, job, step)
    for process in service.run_processes():
        process.kill()
    assert_as_undisturbed(service, job, undisturbed)
    assert service.job(job)["attempt"] == 2


def test_the_worker_is_killed_and_its_run_dies_with_it(service: Service, undisturbed: str) -> None:
    job = service.submit(job_document())
    reach_step(service, job, 12)
    runs = service.run_processes()
    service.kill("worker")
    wait_until(lambda: not any(run.is_running() for run in runs), seconds=5, what="the run is gone")
    service.start("worker")
    assert_as_undisturbed(service, job, undisturbed)


def test_the_api_is_killed(service: Service, undisturbed: str) -> None:
    job = service.submit(job_document())
    reach_step(service, job, 12)
    service.kill("api")
    service.start("api")
    service.wait_ready()
    assert_as_undisturbed(service, job, undisturbed)
    assert service.job(job)["attempt"] == 1, "an API outage must not disturb the run"
