"""A sampler in bfloat16 and a trainer in float32: measured, corrected, and the gradient that comes of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from espo_contracts.rollout import MismatchCorrection
from espo_contracts.spec import ModelSpec
from espo_core.experience import Experience
from espo_core.learner import Learner
from espo_core.objectives import get_objective
from espo_core.policy import Policy, load_policy
from tests.espo_core.test_learner import experience, learner

CAP = 1.002  # bfloat16 is off by a percent: some weights are cut


@pytest.fixture
def sampled(tiny_model: Path) -> Experience:
    """What the same weights in bfloat16 sampled."""
    spec = ModelSpec(name="tiny", dtype="bfloat16")
    return experience(load_policy(spec, folder=tiny_model, device=torch.device("cpu"), seed=0))


def correcting(policy: Policy) -> Learner:
    return replace(learner(policy), correction=MismatchCorrection(cap=CAP))


def plain_statistics(policy: Policy, seen: Experience) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy [T] from the logits of one plain forward a response."""
    logp, entropy = [], []
    for row, start, length in zip(seen.ids, seen.prompt_lengths, seen.lengths, strict=True):
        ids = torch.from_numpy(row[None, : start + length])
        every = policy.model(input_ids=ids).logits[0, start - 1 : -1].log_softmax(-1)
        logp.append(every.gather(1, ids[0, start:, None])[:, 0])
        entropy.append(-(every.exp() * every).sum(-1))
    return torch.cat(logp), torch.cat(entropy)


def gradients(policy: Policy) -> dict[str, Tensor]:
    return {name: one.grad.clone() for name, one in policy.trainable().items() if one.grad is not None}


def test_the_gradient_is_that_of_the_weighted_surrogate(policy: Policy, sampled: Experience) -> None:
    logp, _ = plain_statistics(policy, sampled)
    batch = sampled.batch
    weight = (logp.detach() - batch.logp_old).exp().clamp_max(CAP)
    share = 1 / batch.lengths().float() / batch.responses
    # At the old policy the ratio is 1 and its gradient that of the log-probability.
    (-(batch.per_token(share * batch.advantage) * weight * logp).sum()).backward()  # type: ignore[no-untyped-call]
    expected = gradients(policy)
    policy.model.zero_grad()

    one, captured = correcting(policy), dict[str, Tensor]()

    def capture(rate: float) -> float:
        captured.update(gradients(policy))
        return 0.0

    one.optimiser.update = capture  # type: ignore[method-assign]
    completed, _ = one.completed(sampled)
    one.learn(get_objective("grpo"), completed, step=1, rate=0.01)
    for name, gradient in expected.items():
        torch.testing.assert_close(captured[name], gradient, atol=1e-6, rtol=1e-4)


def test_the_trainer_tells_the_old_policy_and_the_gap(policy: Policy, sampled: Experience) -> None:
    with torch.no_grad():
        logp, entropy = plain_statistics(policy, sampled)
    told = sampled.batch.logp_old
    completed, metrics = correcting(policy).completed(sampled)
    torch.testing.assert_close(completed.batch.logp_old, logp, atol=1e-5, rtol=0)
    torch.testing.assert_close(completed.batch.entropy_old, entropy, atol=1e-5, rtol=0)
    assert metrics["policy/sampler_gap"] == pytest.approx(float((logp - told).abs().max()), abs=1e-5)
    assert 1e-3 < metrics["policy/sampler_gap"] < 0.2
    assert 1e-7 < metrics["policy/sampler_kl"] < 1e-3
    assert metrics["policy/entropy"] == pytest.approx(float(entropy.mean()), abs=1e-5)
    weight = (logp - told).exp()
    assert metrics["policy/importance_mean"] == pytest.approx(float(weight.clamp_max(CAP).mean()), abs=1e-5)
    assert metrics["policy/importance_truncated_fraction"] == pytest.approx(
        float((weight > CAP).float().mean())
    )
    assert 0.1 < metrics["policy/importance_truncated_fraction"] < 0.6


def test_the_old_policy_is_computed_as_the_update_computes_it(tiny_model: Path) -> None:
    spec = ModelSpec(name="tiny", autocast=True)
    policy = load_policy(spec, folder=tiny_model, device=torch.device("cpu"), seed=0)
    one = correcting(policy)
    completed, metrics = one.completed(experience(policy))
    assert metrics["policy/sampler_gap"] > 1e-3
    assert one.learn(get_objective("aer"), completed, step=1, rate=0.01)["policy/sampler_gap"] < 1e-6


def test_without_correction_the_gap_is_that_of_the_first_pass(policy: Policy, sampled: Experience) -> None:
    one = learner(policy, mini_batches=2)
    completed, nothing = one.completed(sampled)
    assert completed is sampled
    assert nothing == {}
    metrics = one.learn(get_objective("aer"), completed, step=1, rate=0.05)
    assert 1e-3 < metrics["policy/sampler_gap"] < 0.2
    assert 1e-7 < metrics["policy/sampler_kl"] < 1e-3


def test_entropies_that_a_sampler_cannot_tell_are_computed(policy: Policy) -> None:
    told = experience(policy)
    unknown = torch.full_like(told.batch.entropy_old, math.nan)
    asked = replace(told, batch=replace(told.batch, entropy_old=unknown))
    completed, metrics = learner(policy).completed(asked)
    torch.testing.assert_close(completed.batch.entropy_old, told.batch.entropy_old, atol=1e-5, rtol=0)
    assert torch.equal(completed.batch.logp_old, told.batch.logp_old)
    assert completed.batch.importance is None
    assert metrics["policy/sampler_gap"] < 1e-5
    trained = learner(policy).learn(get_objective("espo"), completed, step=1, rate=0.01)
    assert math.isfinite(trained["policy/loss"])
