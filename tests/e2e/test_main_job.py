"""The main job, by REST: submitted, trained, polled, watched, downloaded, loaded; and cancelled."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from espo_contracts.job import JobStatus
from espo_transfer.digest import sha256_of
from tests.e2e.service import ROOT, Service, job_document, wait_until
from tests.processes import lives

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="package")
def weights_without_the_service(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SHA-256 of the weights that the library alone ends the same job with."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "job.yaml").write_text(yaml.safe_dump(job_document()))
    command = [sys.executable, "-m", "espo_core", str(folder / "job.yaml"), "--output", str(folder / "run")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return sha256_of(folder / "run" / "checkpoint-40" / "model.safetensors")


def test_the_main_job_from_submit_to_a_loaded_model(
    service: Service, undisturbed: str, weights_without_the_service: str, tmp_path: Path
) -> None:
    assert sorted(service.metrics(undisturbed)) == list(range(1, 41))
    with service.client as client:
        checkpoint = client.download(undisturbed, tmp_path / "model")
        assert next(found.step for found in client.checkpoints(undisturbed)) == 40
    for entry in checkpoint.files:
        assert sha256_of(tmp_path / "model" / entry.name) == entry.sha256
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    answer = model.generate(**tokenizer("2 6 8>16:", return_tensors="pt"), max_new_tokens=8, do_sample=False)
    assert torch.isfinite(model(answer).logits).all()
    assert service.final_weights(undisturbed) == weights_without_the_service


def test_a_cancel_acts_within_two_seconds_in_the_middle_of_a_rollout(service: Service) -> None:
    # One step of this job samples for minutes.
    long = job_document(rollout={"group_size": 64, "prompts_per_step": 2048, "max_new_tokens": 64})
    job = service.submit(long)
    wait_until(lambda: service.job(job).status is JobStatus.RUNNING, seconds=60, what="the job starts")
    time.sleep(1.0)  # into the rollout
    trainer = service.training_process()
    start = time.monotonic()
    with service.client as client:
        client.cancel(job)
    wait_until(lambda: not lives(trainer), seconds=2, what="the run process is gone")
    assert service.wait_finished(job, seconds=5).status is JobStatus.CANCELLED
    assert time.monotonic() - start < 5
    next_job = service.submit(job_document(schedule={"steps": 1}))
    assert service.wait_finished(next_job).status is JobStatus.SUCCEEDED, "the worker serves on"


def test_no_key_in_redis_and_no_file_is_left_behind(service: Service) -> None:
    job = service.submit(job_document(schedule={"steps": 2, "checkpoint_every": 1}))
    assert service.wait_finished(job).status is JobStatus.SUCCEEDED
    wait_until(
        lambda: service.lasting_keys(job) == [], seconds=10, what="every key of the job is gone or expires"
    )
    wait_until(
        lambda: not list((service.home / "tmp").glob("*")), seconds=10, what="no temporary file of the API"
    )
    wait_until(
        lambda: not service.worker_files(job),
        seconds=10,
        what="no spool and no checkpoint folder of the worker",
    )


def test_one_tenant_does_not_see_the_other(service: Service, undisturbed: str) -> None:
    output = service.run("api.auth", "create", "--project", "other", "--name", "other")
    key = next(word for word in output.split() if word.startswith("espo_"))
    for path in ("", "/events", "/metrics", "/samples", "/logs", "/checkpoints", "/checkpoints/latest"):
        answer = httpx.get(
            f"{service.base_url}/v1/jobs/{undisturbed}{path}", headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.status_code == 404, path
