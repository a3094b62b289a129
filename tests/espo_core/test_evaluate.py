from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
import torch

from espo_contracts.events import finite
from espo_contracts.spec import RewardPart
from espo_core.evaluate import Evaluator, best_of, decoded, verified_scores
from espo_core.policy import Policy
from espo_core.prompts import Prompt
from espo_core.rewards import Scored
from espo_core.rollout.engine import Sampling
from espo_core.rollout.native import NativeEngine
from espo_core.verifiers import Score, build_reward

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
    figures = one.sampled(3)
    sampled = figures["sampled"]
    assert sampled.n == 8
    assert 0 <= sampled.low <= sampled.mean < 1
    assert sampled.mean * 24 == pytest.approx(round(sampled.mean * 24))
    assert one.sampled(3) == figures


def test_the_more_responses_are_looked_at_the_likelier_is_a_right_one(policy: Policy) -> None:
    shortness = RewardPart(verifier="length", parameters={"full_until": 0, "zero_from": 6})
    figures = evaluator(policy, ["x"] * 8, [shortness]).sampled(9)
    assert list(figures) == ["sampled", "pass_at_1", "pass_at_2", "pass_at_4", "pass_at_8"]
    means = [one.mean for one in figures.values()]
    assert means[0] == pytest.approx(means[1])
    assert 0 < means[1] < means[2] < means[3] < means[4]
    assert all(one.low <= one.mean <= one.high and one.n == 8 for one in figures.values())


def test_metrics_are_those_that_were_asked_for(policy: Policy) -> None:
    one = evaluator(policy, greedy_answers(policy, 4))
    ends = ("", "_low", "_high")
    greedy = {f"held_out/greedy{end}" for end in ends} | {"held_out/prompts"}
    assert set(one.metrics(0)) == greedy
    more = {f"held_out/{name}{end}" for name in ("sampled", "pass_at_1", "pass_at_2") for end in ends}
    metrics = one.metrics(2)
    assert set(metrics) == greedy | more
    assert finite(3, metrics).values == metrics
    assert metrics["held_out/pass_at_2_high"] == one.sampled(2)["pass_at_2"].high


@pytest.mark.parametrize(("n", "c"), [(1, 0), (1, 1), (5, 0), (5, 2), (5, 5), (200, 3), (1024, 1000)])
def test_pass_at_k_is_the_papers(n: int, c: int) -> None:
    for k in {1, 2, n // 2, n - 1, n} & set(range(1, n + 1)):
        exact = 1 - Fraction(comb(n - c, k), comb(n, k))
        assert best_of([1.0] * c + [0.0] * (n - c), k) == pytest.approx(float(exact), rel=1e-12)


def test_the_best_of_scores_in_between_is_the_mean_over_all_draws() -> None:
    scores = [0.3, 1.0, 0.0, 0.75, 0.3]
    for k in range(1, 6):
        best = [max(draw) for draw in combinations(scores, k)]
        assert best_of(scores, k) == pytest.approx(sum(best) / len(best), rel=1e-12)


def test_a_response_without_a_verdict_is_as_if_it_had_not_been_drawn() -> None:
    verdicts = [[1.0, None, 0.0], [None, None, None], [0.5, 0.0, 1.0]]
    scores = [
        Score(
            reward=0.0,
            verified=False,
            parts={"length": 1.0, "math": mark or 0.0},
            unverified=("length",) if mark is not None else ("math",),
        )
        for one in verdicts
        for mark in one
    ]
    scored = Scored(completions=[""] * 9, scores=scores)
    assert verified_scores(scored, 1, 3) == [[1.0, 0.0], [], [0.5, 0.0, 1.0]]


def test_prompts_with_too_few_verdicts_are_left_out(policy: Policy) -> None:
    answers = [*greedy_answers(policy, 2), "no number"]
    one = evaluator(policy, answers, [RewardPart(verifier="numeric")])
    assert {name: figure.n for name, figure in one.sampled(2).items()} == {
        "sampled": 2,
        "pass_at_1": 2,
        "pass_at_2": 2,
    }


def test_evaluating_leaves_the_random_state_alone(policy: Policy) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    evaluator(policy, ["1"]).sampled(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_special_tokens_are_no_text(policy: Policy) -> None:
    assert decoded(policy, [[3, 4, 1], [1], [5, 0]]) == ["01", "", "2"]
