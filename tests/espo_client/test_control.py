"""Pause, resume, retry and clone by SDK and command, against the real service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from espo_client.client import EspoClient
from espo_client.commands.control import merge_patch
from espo_client.errors import EspoApiError, EspoClientError
from espo_client.records import JobDetail
from espo_contracts.job import JobStatus
from tests.espo_client.conftest import Local
from tests.espo_client.local_service import LONG_JOB
from tests.espo_client.test_cli import good
from tests.espo_client.waiting import wait_until


def reached(client: EspoClient, job_id: str, status: JobStatus) -> Callable[[], JobDetail | None]:
    def now() -> JobDetail | None:
        job = client.get(job_id)
        return (
            job if job.status is status and (status is not JobStatus.RUNNING or job.progress.step) else None
        )

    return now


@pytest.mark.slow
def test_a_job_is_paused_resumed_cancelled_and_tried_again(local: Local) -> None:
    home = local.home
    with local.client() as client:
        job = client.submit(LONG_JOB).id
        wait_until(reached(client, job, JobStatus.RUNNING), what="the job runs", seconds=60)
        assert f"{job}  running, pause wanted" in good("pause", job, home=home)
        paused = wait_until(reached(client, job, JobStatus.PAUSED), what="the job rests", seconds=30)
        assert paused is not None
        assert client.checkpoint(job).step == paused.progress.step > 0
        assert client.pause(job) == paused
        assert f"{job}  queued" in good("resume", job, home=home)
        wait_until(reached(client, job, JobStatus.RUNNING), what="the job runs again", seconds=60)
        client.cancel(job)
        wait_until(reached(client, job, JobStatus.CANCELLED), what="the job is over", seconds=30)
        with pytest.raises(EspoApiError, match=f"{job} is cancelled and cannot be paused"):
            client.pause(job)
        assert f"{job}  queued" in good("retry", job, home=home)
        assert client.cancel(job).desired == "cancel"


@pytest.mark.slow
def test_a_clone_is_a_job_of_its_own(local: Local, trained: JobDetail) -> None:
    with local.client() as client:
        text = good("clone", trained.id, "--set", "seed=7", "--set", "name=again", home=local.home)
        copy = client.cancel(text.split()[0])
        assert copy.spec == trained.spec | {"seed": 7, "name": "again"}
        assert (
            client.clone(trained.id, idempotency_key="k").id
            == client.clone(trained.id, idempotency_key="k").id
        )


@pytest.mark.parametrize(
    ("changes", "patch"),
    [
        ([], {}),
        (
            ["optimiser.learning_rate=1e-4", "optimiser.beta1=null", "name=a=b", "tags=[x, y]"],
            {"optimiser": {"learning_rate": 1e-4, "beta1": None}, "name": "a=b", "tags": ["x", "y"]},
        ),
        (["name=: ["], {"name": ": ["}),
    ],
)
def test_assignments_become_a_merge_patch(changes: list[str], patch: dict[str, Any]) -> None:
    assert merge_patch(changes) == patch


@pytest.mark.parametrize("changes", [["seed"], ["=1"], ["a..b=1"], ["seed=1", "seed.x=2"]])
def test_what_is_no_assignment_is_explained(changes: list[str]) -> None:
    with pytest.raises(EspoClientError, match=f"--set {changes[-1]}"):
        merge_patch(changes)
