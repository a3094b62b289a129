"""Each way from rewards to advantages, through whole runs and against plain sums over a group."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev

import pytest

from espo_contracts.events import Sample
from tests.espo_core.tiny import run_job, tiny_job

Groups = list[list[float]]


def zscore(group: list[float], groups: Groups) -> list[float]:
    return [(one - fmean(group)) / (stdev(group) + 1e-6) for one in group]


def centred(group: list[float], groups: Groups) -> list[float]:
    return [one - fmean(group) for one in group]


def leave_one_out(group: list[float], groups: Groups) -> list[float]:
    return [one - (sum(group) - one) / (len(group) - 1) for one in group]


def batch_std(group: list[float], groups: Groups) -> list[float]:
    every = [one for group in groups for one in group]
    return [(one - fmean(group)) / (stdev(every) + 1e-6) for one in group]


@pytest.mark.parametrize("algorithm", ["grpo", "espo", "gspo"])
@pytest.mark.parametrize("reference", [zscore, centred, leave_one_out, batch_std])
def test_a_run_normalises_as_it_is_told(
    reference: Callable[[list[float], Groups], list[float]],
    algorithm: str,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    spec = tiny_job(
        algorithm={"name": algorithm, "parameters": {"advantage": reference.__name__}},
        rollout={"overlong": {"tokens": 6}},
        schedule={"steps": 1, "samples_per_step": 64},
    )
    samples = [event for event in run_job(spec, tmp_path, tiny_model) if isinstance(event, Sample)]
    groups = [[one.reward for one in group] for _, group in groupby(samples, key=lambda one: one.group)]
    expected = [value for group in groups for value in reference(group, groups)]
    assert len(groups) == 4
    assert [one.advantage for one in samples] == pytest.approx(expected, abs=1e-4)
