from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from espo_contracts.events import Sample
from espo_contracts.rollout import Pruning
from espo_contracts.spec import OptimiserSpec
from espo_core.experience import Experience, make_experience
from espo_core.learner import Learner
from espo_core.objectives import get_objective
from espo_core.optim import Optimiser
from espo_core.policy import Policy
from espo_core.prompts import Prompt
from espo_core.report import Turn
from espo_core.rewards import Scored
from espo_core.rollout.engine import Sampling
from espo_core.rollout.native import NativeEngine
from espo_core.samplers.pruned import pruned_weights
from espo_core.verifiers import Score
from tests.espo_core.tiny import metrics_of, run_job, tiny_job

ADVANTAGE = torch.tensor([2.0, -0.5, 0.0, 1.0, -1.5, 0.25, 0.0, -1.0])
PROMPTS = [Prompt(text="", tokens=tokens, row={}) for tokens in [(3, 4), (5,)]]


def weights(step: int, **spec: float) -> torch.Tensor:
    return pruned_weights(ADVANTAGE, Pruning.model_validate(spec), seed=0, step=step)


def test_only_the_smallest_advantages_are_ever_dropped() -> None:
    """Of six responses with Â ≠ 0 half may go: those of 0.25, 0.5 and the earlier of the two of size 1."""
    seen = torch.stack([weights(step) for step in range(200)])
    assert {index for index in range(8) if (seen[:, index] == 0).any()} == {1, 3, 5}
    assert (seen[:, [0, 2, 4, 6, 7]] == 1).all()
    assert set(seen[:, [1, 3, 5]].flatten().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("probability", [0.25, 0.5, 0.9])
def test_weights_are_1_on_average(probability: float) -> None:
    """The mean over 4,000 steps, within four standard errors of √(P/(1 − P))/√4000."""
    seen = torch.stack([weights(step, share=1.0, probability=probability) for step in range(4000)])
    error = 4 * (probability / (1 - probability) / 4000) ** 0.5
    assert seen.mean(0).tolist() == pytest.approx([1.0] * 8, abs=error)
    assert (seen[:, [2, 6]] == 1).all()


def test_a_step_decides_alone() -> None:
    assert torch.equal(weights(3), weights(3))
    assert len({tuple(weights(step).tolist()) for step in range(20)}) > 2


def experience(policy: Policy, weight: torch.Tensor | None) -> Experience:
    rollout = NativeEngine(policy=policy).generate(
        [prompt.tokens for prompt in PROMPTS], Sampling(responses=4, max_new_tokens=12), seed=0
    )
    scores = [Score(reward=one, verified=True, parts={}) for one in ADVANTAGE.tolist()]
    scored = Scored(completions=[""] * 8, scores=scores)
    turn = Turn(step=1, prompts=PROMPTS, rollout=rollout, scored=scored, advantage=ADVANTAGE, weight=weight)
    return make_experience(policy, turn)


def gradient(
    policy: Policy, weight: torch.Tensor | None, algorithm: str, **parameters: object
) -> torch.Tensor:
    """The gradient of the learner's one update, before clipping; rows of the embedding only."""
    spec = OptimiserSpec(mini_batches=1, micro_batch_tokens=64)
    learner = Learner(
        policy=policy, optimiser=Optimiser(policy.trainable(), spec), spec=spec, temperature=1.0, seed=0
    )
    learner = replace(learner, reference=policy)
    captured: list[torch.Tensor] = []

    def capture(rate: float) -> float:
        captured.append(torch.cat([one.grad.flatten() for one in policy.trainable().values()]))  # type: ignore[union-attr]
        return 0.0

    learner.optimiser.update = capture  # type: ignore[method-assign]
    learner.learn(get_objective(algorithm, **parameters), experience(policy, weight), step=1, rate=0.0)
    return captured[0]


@pytest.mark.parametrize(
    ("algorithm", "parameters"),
    [("espo", {"alpha": 0.1}), ("dapo", {}), ("gspo", {}), ("grpo", {"kl_coefficient": 0.1})],
)
def test_the_expected_gradient_is_that_of_all_responses(
    algorithm: str, parameters: dict[str, object], policy: Policy
) -> None:
    """Over the four ways to drop two responses with P = 1/2, each as likely, the mean is exact."""
    whole = gradient(policy, None, algorithm, **parameters)
    ways = [torch.tensor([1.0, 2 * a, 1, 1, 1, 2 * b, 1, 1]) for a in (0, 1) for b in (0, 1)]
    pruned = [gradient(policy, weight, algorithm, **parameters) for weight in ways]
    assert whole.abs().max() > 1e-3
    assert (pruned[0] - whole).abs().max() > 1e-3
    torch.testing.assert_close(torch.stack(pruned).mean(0), whole, atol=1e-6, rtol=1e-4)


def test_a_pruned_run_learns_tells_and_resumes_bit_identical(tiny_model: Path, tmp_path: Path) -> None:
    pruning = {"share": 0.75, "probability": 0.5}
    spec = tiny_job(rollout={"pruning": pruning}, schedule={"steps": 4, "samples_per_step": 4})
    whole = run_job(spec, tmp_path / "whole", tiny_model)
    told = [values["rollout/pruned_fraction"] for values in metrics_of(whole).values()]
    assert all(one is not None and 0 < one < 0.75 for one in told)
    assert len([event for event in whole if isinstance(event, Sample)]) == 64
    rest = run_job(spec, tmp_path / "rest", tiny_model, resume=tmp_path / "whole" / "checkpoint-2")
    assert metrics_of(rest) == {at: values for at, values in metrics_of(whole).items() if at > 2}
    plain = run_job(tiny_job(schedule={"steps": 1}), tmp_path / "plain", tiny_model)
    assert metrics_of(plain)[1]["reward/mean"] == metrics_of(whole)[1]["reward/mean"]
    assert "rollout/pruned_fraction" not in metrics_of(plain)[1]
