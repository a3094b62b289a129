from __future__ import annotations

from pathlib import Path

import pytest
import torch

from espo_contracts.events import Event, Sample
from espo_contracts.validation import SpecError
from espo_core.overlong import OverlongPenalty
from espo_core.rewards import Scored
from espo_core.rollout.engine import Rollout
from espo_core.verifiers import Score
from tests.espo_core.tiny import metrics_of, run_job, tiny_job

LENGTHS = [1, 6, 7, 8, 9, 10, 10]


def rollout() -> Rollout:
    tokens = sum(LENGTHS)
    return Rollout(
        tokens=torch.zeros(tokens, dtype=torch.int64),
        logp=torch.zeros(tokens),
        entropy=torch.zeros(tokens),
        lengths=torch.tensor(LENGTHS),
        is_truncated=torch.tensor([False] * 6 + [True]),
    )


def scored() -> Scored:
    score = Score(reward=2.0, verified=True, parts={"math": 1.0})
    return Scored(completions=[""] * len(LENGTHS), scores=[score] * len(LENGTHS))


def test_the_penalty_falls_from_0_to_minus_1_over_the_margin() -> None:
    """Eq. (13) with L_max = 10 and L_cache = 4: 0 up to 6 tokens, −1/4 for each beyond, −1 at the limit."""
    penalty = OverlongPenalty(limit=10, margin=4, weight=1.0)
    assert penalty.scores(rollout()).tolist() == [0, 0, -0.25, -0.5, -0.75, -1, -1]


def test_it_is_weighted_into_the_reward_and_shown_among_its_parts() -> None:
    penalty = OverlongPenalty(limit=10, margin=4, weight=0.5)
    shaped = penalty.applied(scored(), rollout())
    assert shaped.rewards().tolist() == [2, 2, 1.875, 1.75, 1.625, 1.5, 1.5]
    assert [score.parts["overlong"] for score in shaped.scores][-3:] == [-0.75, -1, -1]
    assert all(score.parts["math"] == 1 and score.verified for score in shaped.scores)
    assert penalty.metrics(rollout()) == {"reward/overlong_penalty_mean": pytest.approx(-0.5 * 3.5 / 7)}


def test_a_margin_as_wide_as_the_limit_counts_from_the_first_token() -> None:
    assert OverlongPenalty(limit=10, margin=10, weight=1.0).scores(rollout())[0].item() == pytest.approx(-0.1)


def test_a_margin_of_0_is_off() -> None:
    penalty = OverlongPenalty(limit=10, margin=0, weight=1.0)
    assert penalty.applied(scored(), rollout()) == scored()
    assert penalty.metrics(rollout()) == {}


def test_a_run_trains_on_the_penalty_and_judges_without_it(tiny_model: Path, tmp_path: Path) -> None:
    runs: list[list[Event]] = []
    for weight in (0.0, 2.0):
        spec = tiny_job(
            rollout={"overlong": {"tokens": 8, "weight": weight}},
            schedule={"steps": 1, "evaluate_every": 1, "samples_per_step": 64},
        )
        runs.append(run_job(spec, tmp_path / str(weight), tiny_model))
    free, penal = ([event for event in events if isinstance(event, Sample)] for events in runs)
    for one, other in zip(free, penal, strict=True):
        assert one.completion == other.completion
        assert one.reward == one.reward_parts["length"]
        assert other.reward == pytest.approx(
            other.reward_parts["length"] + 2 * other.reward_parts["overlong"]
        )
        assert not other.is_truncated or other.reward_parts["overlong"] == -1
    assert {one.reward_parts["overlong"] for one in penal} > {-1.0, 0.0}
    assert [one.advantage for one in free] != [one.advantage for one in penal]
    told = [metrics_of(events) for events in runs]
    assert told[0][0] == told[1][0]
    assert told[0][1]["reward/mean"] == told[1][1]["reward/mean"]
    mean = sum(one.reward_parts["overlong"] for one in penal) / len(penal)
    assert told[1][1]["reward/overlong_penalty_mean"] == pytest.approx(2 * mean)


def test_the_margin_stays_within_the_limit() -> None:
    with pytest.raises(SpecError, match=r"overlong.tokens \(13\) must not exceed max_new_tokens \(12\)"):
        tiny_job(rollout={"overlong": {"tokens": 13}})
