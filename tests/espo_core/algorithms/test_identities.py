"""What is true of all algorithms by algebra: order, micro-batches, and the gradient at the old policy."""

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from espo_core.algorithms import ALGORITHMS
from espo_core.batch import TokenBatch, Totals
from espo_core.objectives import Objective, combined_metrics, get_objective
from tests.espo_core.algorithms.variants import VARIANTS, every_variant
from tests.espo_core.objectives.rollouts import at_old_policy, gradient_of, random_responses, token_batch

few_examples = settings(max_examples=10, deadline=None)


def test_every_algorithm_stands_among_the_variants() -> None:
    assert {name for name, _ in VARIANTS} == set(ALGORITHMS)


def gradients_of(loss: Tensor, batch: TokenBatch) -> list[Tensor]:
    """d loss / d logp and d loss / d entropy, 0 where the loss does not depend on it."""
    assert batch.entropy is not None
    gradients = torch.autograd.grad(loss, (batch.logp, batch.entropy), allow_unused=True)
    return [torch.zeros_like(batch.logp) if one is None else one for one in gradients]


@every_variant
@few_examples
@given(seed=st.integers(0, 1000))
def test_order_of_responses_does_not_matter(objective: Objective, seed: int) -> None:
    responses = random_responses(seed)
    order = random.Random(seed).sample(range(len(responses)), len(responses))
    batch, shuffled = token_batch(responses), token_batch([responses[i] for i in order])
    out, other = objective(batch), objective(shuffled)
    torch.testing.assert_close(out.loss, other.loss, rtol=1e-12, atol=1e-14)
    pairs = zip(gradients_of(out.loss, batch), gradients_of(other.loss, shuffled), strict=True)
    for gradient, shuffled_gradient in pairs:
        parts = torch.split(gradient, batch.lengths().tolist())
        reordered = torch.cat([parts[i] for i in order])
        torch.testing.assert_close(reordered, shuffled_gradient, rtol=1e-12, atol=1e-16)
    assert out.metrics == pytest.approx(other.metrics, rel=1e-12, abs=1e-15)


@every_variant
@few_examples
@given(seed=st.integers(0, 1000), parts=st.integers(1, 5))
def test_micro_batches_add_up_to_their_mini_batch(objective: Objective, seed: int, parts: int) -> None:
    """What a rollout batch tells, and the bounds that a mini-batch sets, are settled before the cut."""
    batch = objective.prepare(token_batch(random_responses(seed)))
    whole = objective(batch)
    fitted = objective.fitted(batch)
    order = torch.tensor(random.Random(seed).sample(range(batch.responses), batch.responses))
    cut = replace(batch, totals=Totals(responses=batch.responses, tokens=batch.tokens))
    micro = [fitted(cut.select(chosen)) for chosen in order.tensor_split(parts)]
    loss = torch.stack([out.loss for out in micro]).sum()
    torch.testing.assert_close(loss, whole.loss, rtol=1e-12, atol=1e-14)
    pairs = zip(gradients_of(loss, batch), gradients_of(whole.loss, batch), strict=True)
    for summed, gradient in pairs:
        torch.testing.assert_close(summed, gradient, rtol=1e-12, atol=1e-16)
    assert combined_metrics(micro) == pytest.approx(whole.metrics, rel=1e-12, abs=1e-15)


@every_variant
def test_prepared_batch_gives_the_same_loss(objective: Objective) -> None:
    batch = token_batch(random_responses(5))
    assert torch.equal(objective(objective.prepare(batch)).loss, objective(batch).loss)


@every_variant
def test_mini_batches_of_a_rollout_batch_are_grouped_and_credited_as_in_it(objective: Objective) -> None:
    """A prepared mini-batch of half of each prompt group keeps what the rollout batch says of it."""
    batch = objective.prepare(token_batch(random_responses(6)))
    half = batch.select(torch.arange(0, batch.responses, 2))
    token = torch.isin(batch.response, torch.arange(0, batch.responses, 2))
    for name in ("level", "credit"):
        whole, part = getattr(batch, name), getattr(half, name)
        assert part is whole is None or torch.equal(part, whole[token])
    assert batch.group_mean is not None
    assert half.group_mean is not None
    assert torch.equal(half.group_mean, batch.group_mean[::2])


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_at_the_old_policy_the_gradient_is_the_weighted_advantage(name: str) -> None:
    objective = get_objective(name)
    batch = objective.prepare(token_batch(at_old_policy(random_responses(7))))
    weight = objective.aggregation(batch, objective.units(batch))
    out = objective(batch)
    torch.testing.assert_close(gradient_of(out.loss, batch), -weight * batch.token_advantage)
    assert out.metrics["clip_fraction"] == 0.0
    assert out.metrics["approx_kl"] == 0.0
    if name != "sspo":
        assert out.metrics["ratio_max"] == 1.0


def test_clip_fraction_falls_from_gspo_over_espo_to_grpo() -> None:
    batch: TokenBatch = token_batch(random_responses(11, count=200, spread=0.02))
    metrics = {name: get_objective(name)(batch).metrics for name in ("grpo", "espo", "gspo")}
    wider = get_objective("espo", alpha=0.1)(batch).metrics
    ordered = [one["clip_fraction"] for one in (metrics["grpo"], wider, metrics["espo"], metrics["gspo"])]
    assert ordered == sorted(ordered)
    assert ordered[0] < ordered[1] < ordered[2]
