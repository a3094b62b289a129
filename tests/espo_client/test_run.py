"""`espo run`: one command from a job file to a better model, and nothing left behind."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import yaml

from espo_contracts.job import JobStatus
from tests.espo_client.conftest import Local
from tests.espo_client.local_service import LONG_JOB, SHORT_JOB, espo, processes_of
from tests.espo_client.waiting import wait_until
from tests.servers import free_port

pytestmark = pytest.mark.slow


def job_file(folder: Path, job: dict[str, object]) -> str:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return str(path)


def test_a_run_from_nothing_leaves_a_model_a_plot_a_summary_and_no_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run = espo("run", job_file(tmp_path, SHORT_JOB), home=home, changes={"ESPO_API_PORT": str(free_port())})
    output, errors = run.communicate(timeout=200)
    assert run.returncode == 0, errors
    summary = json.loads((home / "quickstart" / "summary.json").read_text())
    assert set(summary) == {"job_id", "checkpoint", "plot", "seconds", "held_out"}
    folder = home / "quickstart" / summary["job_id"]
    assert summary["checkpoint"] == str(folder / "checkpoint")
    assert (folder / "checkpoint" / "model.safetensors").stat().st_size > 100_000
    assert Path(summary["plot"]).read_bytes().startswith(b"\x89PNG")
    assert 0 < summary["seconds"]["train"] < summary["seconds"]["total"]
    for model in ("base", "trained"):
        for kind in ("greedy", "sampled"):
            accuracy = summary["held_out"][model][kind]
            assert set(accuracy) == {"mean", "low", "high", "n"}
            assert 0 <= accuracy["low"] <= accuracy["mean"] <= accuracy["high"] <= 1
            assert accuracy["n"] == 8
    assert "Accuracy on 8 held-out prompts" in output
    assert "`make up` opens the service again" in output
    wait_until(lambda: not processes_of(home), what="no process is left")


def test_a_second_run_uses_the_service_that_runs(local: Local, tmp_path: Path) -> None:
    run = espo("run", job_file(tmp_path, SHORT_JOB), home=local.home)
    _, errors = run.communicate(timeout=200)
    assert run.returncode == 0, errors
    assert "Using the service that runs" in errors
    with local.client() as client:
        summary = json.loads((local.home / "quickstart" / "summary.json").read_text())
        assert client.get(summary["job_id"]).status == JobStatus.SUCCEEDED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_job(local: Local, tmp_path: Path, number: signal.Signals) -> None:
    name = f"interrupted-by-{number.name.lower()}"
    run = espo("run", job_file(tmp_path, LONG_JOB | {"name": name}), home=local.home)
    assert run.stderr is not None
    # Before it says so there is no job that it knows of.
    next(line for line in run.stderr if line.startswith("Submitted"))
    with local.client() as client:
        (job,) = client.jobs(text=name)
        wait_until(lambda: client.get(job.id).progress.step > 0, what="it trains", seconds=60)
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 130, errors
        assert client.get(job.id).status == JobStatus.CANCELLED


def test_killing_it_takes_everything_with_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    run = espo("run", job_file(tmp_path, LONG_JOB), home=home, changes={"ESPO_API_PORT": str(free_port())})
    try:
        wait_until(
            lambda: any("worker.child" in " ".join(process.cmdline()) for process in processes_of(home)),
            what="a run process is there",
            seconds=90,
        )
    finally:
        run.kill()
        run.communicate()
    wait_until(lambda: not processes_of(home), what="nothing is left", seconds=60)


def test_a_job_that_fails_is_explained(local: Local, tmp_path: Path) -> None:
    impossible = SHORT_JOB | {"data": SHORT_JOB["data"] | {"max_prompt_tokens": 1}}
    run = espo("run", job_file(tmp_path, impossible), home=local.home)
    _, errors = run.communicate(timeout=100)
    assert run.returncode == 3, errors
    assert "failed at step 0 (data_error)" in errors


def test_a_wrong_job_file_starts_nothing(tmp_path: Path) -> None:
    run = espo("run", job_file(tmp_path, SHORT_JOB | {"sede": 1}), home=tmp_path / "home")
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "sede: unknown field; did you mean seed?" in errors
    assert not (tmp_path / "home").exists()
