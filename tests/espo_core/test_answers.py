from __future__ import annotations

import pytest
import torch

from espo_core.answers import Answers
from espo_core.prompts import Prompt
from espo_core.rewards import Scored
from espo_core.rollout.engine import Rollout
from espo_core.verifiers import Score

LENGTHS = [2, 1, 3, 1, 2, 2]


def answers(rewards: list[float], verified: list[bool] | None = None) -> Answers:
    """Three prompts with two responses each; token values tell response and position."""
    responses = torch.arange(6).repeat_interleave(torch.tensor(LENGTHS))
    judged = zip(rewards, verified or [True] * 6, strict=True)
    return Answers(
        prompts=[Prompt(text=name, tokens=(1,), row={}) for name in "abc"],
        rollout=Rollout(
            tokens=responses,
            logp=-responses.float(),
            entropy=responses.float() / 10,
            lengths=torch.tensor(LENGTHS),
            is_truncated=torch.tensor([False, True] * 3),
        ),
        scored=Scored(
            completions=[str(index) for index in range(6)],
            scores=[Score(reward=reward, verified=is_verified, parts={}) for reward, is_verified in judged],
        ),
    )


@pytest.mark.parametrize(
    ("rewards", "verified", "expected"),
    [
        ([0, 1, 1, 1, 0, 0], [True] * 6, [True, False, False]),
        ([0.5, 0.25, -1, -1, 0.1, 0.2], [True] * 6, [True, False, True]),
        ([0, 1, 0, 1, 0, 1], [True, True, True, False, False, False], [True, False, False]),
    ],
)
def test_contrast_is_a_difference_between_verified_rewards(
    rewards: list[float], verified: list[bool], expected: list[bool]
) -> None:
    assert answers(rewards, verified).has_contrast().tolist() == expected


def test_selected_prompts_keep_their_responses() -> None:
    kept = answers([0, 1, 2, 3, 4, 5]).select(torch.tensor([True, False, True]))
    assert kept.group == 2
    assert [prompt.text for prompt in kept.prompts] == ["a", "c"]
    assert kept.scored.completions == ["0", "1", "4", "5"]
    assert kept.scored.rewards().tolist() == [0, 1, 4, 5]
    assert kept.rollout.split() == [[0, 0], [1], [4, 4], [5, 5]]
    assert kept.rollout.logp.tolist() == [0, 0, -1, -4, -4, -5, -5]
    assert kept.rollout.entropy.tolist() == pytest.approx([0, 0, 0.1, 0.4, 0.4, 0.5, 0.5])
    assert kept.rollout.is_truncated.tolist() == [False, True, False, True]


def test_the_parts_of_answers_join_to_the_whole() -> None:
    whole = answers([0, 1, 2, 3, 4, 5])
    parts = [whole.select(torch.arange(3) == index) for index in range(3)]
    joined = Answers.joined(parts)
    assert [prompt.text for prompt in joined.prompts] == ["a", "b", "c"]
    assert joined.rollout.split() == whole.rollout.split()
    assert joined.scored == whole.scored
