from __future__ import annotations

import pytest
import torch

from espo_contracts.spec import RewardPart
from espo_core.evaluate import Evaluator, decoded
from espo_core.policy import Policy
from espo_core.prompts import Prompt
from espo_core.rollout.engine import Sampling
from espo_core.rollout.native import NativeEngine
from espo_core.verifiers import build_reward

SAMPLING = Sampling(responses=4, max_new_tokens=6)


EXACT = [RewardPart(verifier="exact")]


def evaluator(policy: Policy, answers: list[str], reward: list[RewardPart] = EXACT) -> Evaluator:
    prompts = [
        Prompt(text=str(index), tokens=(3 + index,), row={"answer": answer})
        for index, answer in enumerate(answers)
    ]
    return Evaluator(
        policy=policy,
        engine=NativeEngine(policy=policy),
        verifiers=build_reward(reward),
        prompts=prompts,
        sampling=SAMPLING,
        seed=0,
    )


def greedy_answers(policy: Policy, count: int) -> list[str]:
    engine = NativeEngine(policy=policy)
    sampling = Sampling(responses=1, max_new_tokens=6, is_greedy=True)
    rollout = engine.generate([(3 + index,) for index in range(count)], sampling, seed=0)
    return decoded(policy, rollout.split())


def test_greedy_accuracy_counts_right_answers(policy: Policy) -> None:
    answers = greedy_answers(policy, 8)
    right = evaluator(policy, answers).greedy()
    half = evaluator(policy, [*answers[:4], "x", "x", "x", "x"]).greedy()
    assert (right.mean, right.n, half.mean) == (1.0, 8, 0.5)
    assert half.low < 0.5 < half.high


def test_accuracy_is_the_score_of_the_heaviest_verifier(policy: Policy) -> None:
    shaping = RewardPart(verifier="length", weight=0.5)
    answers = [*greedy_answers(policy, 4), "x"]
    one = evaluator(policy, answers, [shaping, RewardPart(verifier="exact", weight=0.75), shaping])
    assert one.greedy() == evaluator(policy, answers).greedy()
    assert one.greedy().mean == 0.8


def test_sampled_accuracy_has_one_mean_a_prompt_and_repeats(policy: Policy) -> None:
    one = evaluator(policy, greedy_answers(policy, 8))
    sampled = one.sampled(3)
    assert sampled.n == 8
    assert 0 <= sampled.low <= sampled.mean < 1
    assert sampled.mean * 24 == pytest.approx(round(sampled.mean * 24))
    assert one.sampled(3) == sampled


def test_evaluating_leaves_the_random_state_alone(policy: Policy) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    evaluator(policy, ["1"]).sampled(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_special_tokens_are_no_text(policy: Policy) -> None:
    assert decoded(policy, [[3, 4, 1], [1], [5, 0]]) == ["01", "", "2"]
