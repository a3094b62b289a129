"""Trouble with a name: real runs in real trouble, and what their users are told of it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from espo_contracts.events import Checkpoint, Event, Failed, Finished, Log, Started
from espo_contracts.job import FailureCode, JobSpec
from espo_contracts.wire import job_key
from espo_core.verifiers import VERIFIERS, Row, Verdict
from tests.espo_core.tiny import save_tiny_model
from tests.worker.api_side import ApiSide
from tests.worker.cgroup import memory_cgroup
from tests.worker.conftest import Supervision, spec_of
from tests.worker.real_worker import job
from worker.nursery import Nursery
from worker.order import RunOrder
from worker.supervisor import Site
from worker.training import train


def job_with(**changes: dict[str, Any]) -> JobSpec:
    """A small real job, with some fields of its parts changed; `reward` is replaced."""
    document = job(3).model_dump()
    for part, fields in changes.items():
        document[part] = fields if part == "reward" else document[part] | fields
    return JobSpec.model_validate(document)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-base")


def run(spec: JobSpec, model: Path, work_dir: Path) -> tuple[list[Event], Finished | Failed]:
    """What a run of the trainer told, and its end; in this process."""
    told: list[Event] = []
    order = RunOrder(spec=spec, work_dir=work_dir, model=model)
    return told, train(order, told.append)


def supervised(site: Site, api: ApiSide, spec: JobSpec) -> Failed | Finished:
    """The end of one attempt under a supervisor."""
    api.start_attempt(spec)
    with api.running():
        Supervision(site, api).join(120)
    end = api.events[-1]
    assert isinstance(end, Failed | Finished)
    return end


@pytest.fixture
def bounded_site(site: Site, model: Path) -> Iterator[Site]:
    """A site whose real run processes have little memory left once they are warm."""
    shutil.copytree(model, Path(site.sources.model_path) / "tiny-base", dirs_exist_ok=True)
    command = [sys.executable, "-m", "tests.worker.bounded_child"]
    nursery = Nursery(dict(os.environ), command)
    yield replace(site, nursery=nursery, keeps_spare=False)
    nursery.close()


@pytest.mark.slow
def test_a_run_that_finds_no_memory(bounded_site: Site, api: ApiSide) -> None:
    spec = job_with(rollout={"prompts_per_step": 32, "group_size": 32, "max_new_tokens": 64})
    failed = supervised(bounded_site, api, spec)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.is_retryable) == (FailureCode.OUT_OF_MEMORY, False)
    assert "needs more memory than there is" in failed.message
    assert "micro_batch_tokens" in failed.hint
    assert "trainer.py" in failed.log_tail
    assert [type(event) for event in api.events] == [Started, Failed]


def test_a_run_that_the_kernel_kills_for_memory(site: Site, api: ApiSide) -> None:
    with memory_cgroup(100 << 20) as group:
        failed = supervised(site, api, spec_of(f"print:3 bound_by:{group} fill_memory:300 finish:1"))
    assert isinstance(failed, Failed)
    assert (failed.code, failed.is_retryable) == (FailureCode.OUT_OF_MEMORY, True)
    assert failed.message == "the kernel killed the run process for want of memory"
    assert failed.log_tail.splitlines()[-1] == "line 2"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("terminate~called~after~throwing~an~instance~of~'std::bad_alloc'", FailureCode.OUT_OF_MEMORY),
        ("Assertion~failed.", FailureCode.INTERNAL),
    ],
)
def test_a_run_that_aborts(site: Site, api: ApiSide, words: str, code: FailureCode) -> None:
    failed = supervised(site, api, spec_of(f"abort:{words}"))
    assert isinstance(failed, Failed)
    assert failed.code == code
    assert words.replace("~", " ") in failed.log_tail


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(model: Path, tmp_path: Path) -> None:
    absurd = {"learning_rate": 1.0, "beta2": 0.0, "max_gradient_norm": 1e6}
    spec = job_with(optimiser=absurd, schedule={"steps": 50, "checkpoint_every": 1})
    told, failed = run(spec, model, tmp_path)
    assert isinstance(failed, Failed)
    saved = [event.step for event in told if isinstance(event, Checkpoint)]
    assert (failed.code, failed.is_retryable) == (FailureCode.DIVERGED, False)
    assert failed.message == f"the loss is not finite at step {saved[-1] + 1}"
    assert "learning rate" in failed.hint
    weights = load_file(tmp_path / f"checkpoint-{saved[-1]}" / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_a_verifier_that_never_ends(model: Path, tmp_path: Path) -> None:
    # On any text it tries 2^40 ways to match nothing before it gives up.
    endless = {"pattern": "(?:|){40}(?!)", "timeout_seconds": 0.05}
    spec = job_with(reward=[{"verifier": "regex", "parameters": endless}], schedule={"steps": 50})
    begin = time.monotonic()
    _, failed = run(spec, model, tmp_path)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.is_retryable) == (FailureCode.VERIFIER_ERROR, False)
    assert "regex used up its time" in failed.message
    assert "timeout_seconds" in failed.hint
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize("is_always", [True, False])
def test_a_verifier_that_raises(
    is_always: bool, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def broken(completion: str, row: Row) -> Verdict:
        calls.append(completion)
        if is_always or len(calls) % 5 == 0:
            raise ZeroDivisionError("no such score")
        return Verdict(score=0.5, verified=True)

    entry = replace(VERIFIERS["length"], build=lambda _: broken)
    monkeypatch.setitem(VERIFIERS, "length", entry)
    told, end = run(job_with(schedule={"steps": 2}), model, tmp_path)
    warnings = [event.message for event in told if isinstance(event, Log)]
    if is_always:
        assert isinstance(end, Failed)
        assert (end.code, end.is_retryable) == (FailureCode.VERIFIER_ERROR, False)
        assert "length: ZeroDivisionError: no such score" in end.message
    else:
        assert end == Finished(step=2)
        assert any("verdicts failed, the first with length: ZeroDivisionError" in text for text in warnings)


def test_a_model_that_vanishes_between_two_attempts(site: Site, api: ApiSide) -> None:
    first = supervised(site, api, spec_of("exit:7"))
    assert isinstance(first, Failed)
    assert (first.code, first.is_retryable) == (FailureCode.INTERNAL, True)
    shutil.rmtree(Path(site.sources.model_path) / "tiny-base")
    second = supervised(site, api, spec_of("exit:7"))
    assert isinstance(second, Failed)
    assert (second.code, second.is_retryable) == (FailureCode.MODEL_NOT_FOUND, False)
    assert "'tiny-base'" in second.message
    assert "ESPO_MODEL_PATH" in second.hint


@pytest.mark.parametrize("gone", ["all", "config.json", "model.safetensors", "tokenizer.json"])
def test_a_model_that_vanishes_before_it_is_loaded(model: Path, tmp_path: Path, gone: str) -> None:
    folder = tmp_path / "tiny-base"
    if gone != "all":
        shutil.copytree(model, folder)
        (folder / gone).unlink()
    _, failed = run(job(1), folder, tmp_path)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.is_retryable) == (FailureCode.MODEL_NOT_FOUND, False)
    assert str(tmp_path) not in failed.message


def test_what_earlier_attempts_trained_counts_towards_the_time_limit(site: Site, api: ApiSide) -> None:
    spec = spec_of("print:3 metrics:2 hang", resources={"max_hours": 1.0})
    api.start_attempt(spec)
    api.client.hset(job_key(api.job), "trained_seconds", "3597")
    with api.running():
        Supervision(site, api).join(20)
    failed = api.events[-1]
    assert isinstance(failed, Failed)
    assert (failed.code, failed.is_retryable) == (FailureCode.TIMEOUT, False)
    assert "in all its attempts" in failed.message
    assert failed.log_tail.splitlines()[-1] == "line 2"
