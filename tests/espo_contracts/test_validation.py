"""Errors of a job document: all at once, each with its JSON path and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from espo_contracts.job import TRANSITIONS, JobSpec, JobStatus
from espo_contracts.validation import SpecError, json_path, nearest, parse_job_spec


def document(**changes: Any) -> dict[str, Any]:
    return {
        "model": {"name": "tiny-base"},
        "data": {"task": {"name": "countdown"}},
        "reward": [{"verifier": "countdown"}],
    } | changes


def errors_of(job: Any) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        parse_job_spec(job)
    return {error.loc: error.message for error in caught.value.errors}


def test_a_minimal_document_gets_every_default() -> None:
    spec = parse_job_spec(document())
    assert spec.algorithm.name == "espo"
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


def test_all_errors_come_at_once_with_their_paths() -> None:
    job = document(
        optimiser={"learning_rat": 1e-4, "beta1": 2},
        reward=[{"verifier": "countdown", "wieght": 2}],
        seeed=3,
    )
    errors = errors_of(job)
    assert errors["optimiser.learning_rat"] == "unknown field; did you mean learning_rate?"
    assert errors["reward[0].wieght"] == "unknown field; did you mean weight?"
    assert errors["seeed"] == "unknown field; did you mean seed?"
    assert "less than 1" in errors["optimiser.beta1"]


def test_an_unknown_field_of_an_optional_part_is_explained_too() -> None:
    errors = errors_of(document(model={"name": "tiny-base", "lora": {"rnk": 4}}))
    assert errors["model.lora.rnk"] == "unknown field; did you mean rank?"


@pytest.mark.parametrize(
    ("changes", "loc", "words"),
    [
        ({"model": {}}, "model", "exactly one of name, hub, checkpoint; got none"),
        ({"model": {"name": "../etc"}}, "model.name", "pattern"),
        (
            {"data": {"file": "file-" + "0" * 32, "task": {"name": "countdown"}}},
            "data",
            "exactly one of task, file, hub; got task, file",
        ),
        ({"data": {"file": "/etc/passwd"}}, "data.file", "pattern"),
        (
            {"optimiser": {"mini_batches": 8}, "rollout": {"prompts_per_step": 4}},
            "$",
            "must not exceed rollout.prompts_per_step (4)",
        ),
        ({"rollout": {"temperature": float("nan")}}, "rollout.temperature", "finite"),
        ({"reward": []}, "reward", "at least 1"),
    ],
)
def test_a_wrong_value_names_the_field_and_the_remedy(changes: dict[str, Any], loc: str, words: str) -> None:
    assert words in errors_of(document(**changes))[loc]


@pytest.mark.parametrize("junk", [None, [], "text", 3, {"model": []}, {"reward": {"a": 1}}])
def test_junk_is_an_error_and_no_crash(junk: Any) -> None:
    assert errors_of(junk)


def test_paths_read_like_json_paths() -> None:
    assert json_path(("reward", 0, "weight")) == "reward[0].weight"
    assert json_path(()) == "$"


def test_nearest_lists_all_when_nothing_is_close() -> None:
    assert nearest("zzz", ["b", "a"]) == "valid: a, b"


def test_what_is_over_stays_so_but_for_a_retry() -> None:
    terminal = {status for status in JobStatus if status.is_terminal}
    assert terminal == {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
    ways_out = {status: TRANSITIONS[status] for status in terminal}
    assert ways_out == {
        JobStatus.SUCCEEDED: set(),
        JobStatus.FAILED: {JobStatus.QUEUED},
        JobStatus.CANCELLED: {JobStatus.QUEUED},
    }
