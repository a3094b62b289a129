"""The weight that makes up for a sampler that is not the old policy, against sums worked out one by one."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.mismatch import Mismatch, corrected, has_entropies, known
from espo_core.objectives import get_objective
from tests.espo_core.objectives.rollouts import Response, gradient_of, random_responses, token_batch

CAP = 1.25


def by_two(responses: list[Response], *, spread: float = 0.3) -> tuple[TokenBatch, Tensor]:
    """The batch as the sampler told it, and the trainer's log-probabilities [T] under the old policy."""
    batch = token_batch(responses)
    noise = torch.randn(batch.tokens, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return replace(batch, logp_old=batch.logp_old + spread * noise), batch.logp_old


def replaced(responses: list[Response]) -> TokenBatch:
    """The corrected batch, whose `logp` takes a gradient."""
    batch, logp = by_two(responses)
    fixed = corrected(batch, logp=logp, entropy=batch.entropy_old, cap=CAP)
    return replace(fixed, logp=batch.logp)


def loss_of_loop(responses: list[Response], sampler: list[float], logp: Tensor, *, level: str) -> Tensor:
    """−J of GRPO ("token") or GSPO ("sequence"), a token at a time, clipped at 0.2."""
    losses, place = [], 0
    for one in responses:
        mine = range(place, place := place + len(one.logp))
        log_ratios = [logp[t] - old for t, old in zip(mine, one.logp_old, strict=True)]
        if level == "sequence":
            log_ratios = [torch.stack(log_ratios).mean()] * len(log_ratios)
        for log_ratio, old, told in zip(
            log_ratios, one.logp_old, sampler[mine.start : mine.stop], strict=True
        ):
            ratio, weight = log_ratio.exp(), min(math.exp(old - told), CAP)
            bounded = torch.minimum(ratio * one.advantage, ratio.clamp(0.8, 1.2) * one.advantage)
            losses.append(-weight * bounded / len(one.logp) / len(responses))
    return torch.stack(losses).sum()


@pytest.mark.parametrize(("name", "level"), [("grpo", "token"), ("gspo", "sequence")])
def test_each_token_of_the_surrogate_has_its_weight(name: str, level: str) -> None:
    responses = random_responses(3, spread=0.3)
    batch = replaced(responses)
    sampler = by_two(responses)[0].logp_old.tolist()
    expected = loss_of_loop(responses, sampler, batch.logp, level=level)
    objective = get_objective(name, epsilon_low=0.2, epsilon_high=0.2)
    loss = objective.loss(batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(gradient_of(loss, batch), gradient_of(expected, batch), rtol=1e-9, atol=1e-12)
    plain = objective.loss(replace(batch, importance=None))
    assert abs(loss.item() - plain.item()) > 1e-3


def test_the_weight_is_cut_at_the_cap_and_takes_no_gradient() -> None:
    policy = torch.tensor([-0.5, -2.1, -3.0], dtype=torch.float64, requires_grad=True)
    weight = Mismatch(sampler=torch.tensor([-1.0, -2.0, -0.5]).double(), policy=policy).weight(1.5)
    assert weight.tolist() == pytest.approx([1.5, math.exp(-0.1), math.exp(-2.5)])
    assert not weight.requires_grad


def test_below_the_cap_the_sampler_s_mean_is_the_policy_s() -> None:
    sampler = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    policy = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    value = torch.tensor([3.0, -1.0, 2.0, 5.0], dtype=torch.float64)
    gap = Mismatch(sampler=sampler.log(), policy=policy.log())
    assert float((sampler * gap.weight(4.0) * value).sum()) == pytest.approx(float((policy * value).sum()))
    expected = 0.1 * 3 + 0.2 * -1 + 0.3 * 2 + 0.1 * 2 * 5
    assert float((sampler * gap.weight(2.0) * value).sum()) == pytest.approx(expected)


def test_measures_the_divergence_of_the_sampler() -> None:
    # Tokens as often as the sampler draws them, so that the mean over them is its expectation.
    tokens = torch.tensor([0, 0, 1, 2])
    sampler, policy = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.25, 0.5])
    parts = [Mismatch(sampler=sampler[one].log(), policy=policy[one].log()) for one in tokens.split(3)]
    gap = Mismatch.joined(parts)
    assert gap.metrics() == pytest.approx(
        {"policy/sampler_gap": math.log(2), "policy/sampler_kl": 0.25 * math.log(2)}, rel=1e-6
    )
    assert gap.weight_metrics(1.5) == pytest.approx(
        {"policy/importance_mean": (0.5 + 0.5 + 1 + 1.5) / 4, "policy/importance_truncated_fraction": 0.25}
    )


def test_equal_policies_are_left_as_they_are() -> None:
    batch = token_batch(random_responses(5))
    fixed = corrected(batch, logp=batch.logp_old, entropy=batch.entropy_old, cap=1.0)
    assert fixed.importance is not None
    assert fixed.importance.eq(1).all()
    for name in ("espo", "grpo", "bapo"):
        objective = get_objective(name)
        seen = replace(fixed, logp=batch.logp)
        assert torch.equal(objective.loss(seen), objective.loss(batch))


def test_penalties_are_not_weighted() -> None:
    responses = random_responses(7)
    batch = replaced(responses)
    none = torch.zeros_like(batch.logp)
    with_penalty, without = (
        get_objective("grpo", kl_coefficient=0.5),
        get_objective("grpo", kl_coefficient=0.0),
    )
    zero = replace(batch, importance=none)
    penalty = with_penalty.loss(zero)
    assert penalty.item() > 0.01
    assert with_penalty.loss(batch).item() == pytest.approx((without.loss(batch) + penalty).item(), rel=1e-9)


def test_a_search_over_the_batch_counts_the_weights() -> None:
    batch = token_batch(random_responses(11, count=24, spread=0.3))
    objective = get_objective("bapo", positive_share=0.55)

    def fitted(good: float, bad: float) -> object:
        weight = torch.full_like(batch.logp_old, bad).masked_fill(batch.token_advantage > 0, good)
        return objective.fitted(replace(batch, importance=weight)).trust_region

    assert fitted(1.0, 0.01) != fitted(0.01, 1.0)


def test_entropies_that_the_sampler_cannot_tell_are_filled_in() -> None:
    state = random.Random(0)
    batch = token_batch(random_responses(9))
    told = replace(batch, entropy_old=torch.full_like(batch.entropy_old, math.nan))
    assert (has_entropies(batch), has_entropies(told)) == (True, False)
    entropy = torch.tensor([state.random() for _ in range(batch.tokens)], dtype=torch.float64)
    seen = known(told, logp=batch.logp, entropy=entropy)
    assert has_entropies(seen)
    assert torch.equal(seen.entropy_old, entropy)
    assert torch.equal(seen.logp_old, batch.logp_old)
    assert seen.importance is None
