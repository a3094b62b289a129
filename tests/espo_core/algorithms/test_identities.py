"""What is true of all algorithms, and of one algorithm in terms of another, by algebra."""

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espo_core.algorithms import ALGORITHMS
from espo_core.batch import TokenBatch, Totals
from espo_core.objectives import Objective, combined_metrics, get_objective
from espo_core.objectives.aggregation import mean_over_groups, sequence_mean
from espo_core.objectives.ratio import carried_by_current, geometric_mean, token_ratio
from espo_core.objectives.trust_region import HardClip
from espo_core.objectives.units import EntropyGroups, rank_in_response, sequence_units, token_units
from tests.espo_core.objectives.rollouts import at_old_policy, gradient_of, random_responses, token_batch

VARIANTS = [
    ("espo", {"alpha": 0.1}),
    ("espo", {"alpha": 0.1, "quantile_scope": "batch"}),
    ("espo", {"alpha": 0.1, "quantile_scope": "batch", "train_groups": "top", "carrier": "old"}),
    ("grpo", {"epsilon_low": 0.02, "epsilon_high": 0.03, "kl_coefficient": 0.1}),
    ("gspo", {"epsilon_low": 0.01, "epsilon_high": 0.0133}),
]
CLIP = HardClip(epsilon_low=0.01, epsilon_high=0.0133)
few_examples = settings(max_examples=25, deadline=None)
every_variant = pytest.mark.parametrize(("name", "parameters"), VARIANTS, ids=str)


def test_every_algorithm_stands_among_the_variants() -> None:
    assert {name for name, _ in VARIANTS} == set(ALGORITHMS)


def assert_same(one: Objective, other: Objective, *, value: bool = True) -> None:
    """Two objectives agree in gradient, and in value, on several batches."""
    for seed in range(4):
        batch = token_batch(random_responses(seed))
        first, second = one(batch), other(batch)
        torch.testing.assert_close(gradient_of(first.loss, batch), gradient_of(second.loss, batch))
        if value:
            torch.testing.assert_close(first.loss, second.loss)


@every_variant
@few_examples
@given(seed=st.integers(0, 1000))
def test_order_of_responses_does_not_matter(name: str, parameters: dict[str, object], seed: int) -> None:
    responses = random_responses(seed)
    order = random.Random(seed).sample(range(len(responses)), len(responses))
    objective = get_objective(name, **parameters)
    batch, shuffled = token_batch(responses), token_batch([responses[i] for i in order])
    out, other = objective(batch), objective(shuffled)
    torch.testing.assert_close(out.loss, other.loss, rtol=1e-12, atol=1e-14)
    gradients = torch.split(gradient_of(out.loss, batch), batch.lengths().tolist())
    reordered = torch.cat([gradients[i] for i in order])
    torch.testing.assert_close(reordered, gradient_of(other.loss, shuffled), rtol=1e-12, atol=1e-16)
    assert out.metrics == pytest.approx(other.metrics, rel=1e-12)


@every_variant
@few_examples
@given(seed=st.integers(0, 1000), parts=st.integers(1, 5))
def test_micro_batches_add_up_to_their_mini_batch(
    name: str, parameters: dict[str, object], seed: int, parts: int
) -> None:
    objective = get_objective(name, **parameters)
    batch = objective.prepare(token_batch(random_responses(seed)))
    whole = objective(batch)
    order = torch.tensor(random.Random(seed).sample(range(batch.responses), batch.responses))
    batch = replace(batch, totals=Totals(responses=batch.responses, tokens=batch.tokens))
    micro = [objective(batch.select(chosen)) for chosen in order.tensor_split(parts)]
    loss = torch.stack([out.loss for out in micro]).sum()
    torch.testing.assert_close(loss, whole.loss, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        gradient_of(loss, batch), gradient_of(whole.loss, batch), rtol=1e-12, atol=1e-16
    )
    assert combined_metrics(micro) == pytest.approx(whole.metrics, rel=1e-12)


@every_variant
def test_prepared_batch_gives_the_same_loss(name: str, parameters: dict[str, object]) -> None:
    objective = get_objective(name, **parameters)
    batch = token_batch(random_responses(5))
    assert torch.equal(objective(objective.prepare(batch)).loss, objective(batch).loss)


@pytest.mark.parametrize("name", ["espo", "grpo", "gspo"])
def test_at_the_old_policy_the_gradient_is_the_weighted_advantage(name: str) -> None:
    batch = token_batch(at_old_policy(random_responses(7)))
    objective = get_objective(name)
    weight = objective.aggregation(batch, objective.units(batch))
    out = objective(batch)
    torch.testing.assert_close(gradient_of(out.loss, batch), -weight * batch.token_advantage)
    assert out.metrics["clip_fraction"] == 0.0
    assert out.metrics["approx_kl"] == 0.0
    assert out.metrics["ratio_max"] == 1.0


def test_gspo_is_gspo_token_in_value_and_gradient() -> None:
    gspo_token = Objective(
        units=sequence_units, ratio=carried_by_current, trust_region=CLIP, aggregation=sequence_mean
    )
    assert_same(get_objective("gspo", epsilon_low=0.01, epsilon_high=0.0133), gspo_token)


def test_espo_with_one_group_and_fixed_bounds_is_gspo() -> None:
    espo = Objective(
        units=EntropyGroups(quantiles=(), ranking=rank_in_response),
        ratio=carried_by_current,
        trust_region=CLIP,
        aggregation=mean_over_groups,
    )
    assert_same(espo, get_objective("gspo", epsilon_low=0.01, epsilon_high=0.0133))


def test_espo_with_every_token_a_group_and_fixed_bounds_is_grpo() -> None:
    espo = Objective(
        units=token_units, ratio=carried_by_current, trust_region=CLIP, aggregation=mean_over_groups
    )
    assert_same(espo, get_objective("grpo", epsilon_low=0.01, epsilon_high=0.0133))


def test_geometric_mean_of_one_token_is_its_own_ratio() -> None:
    batch = token_batch(random_responses(0))
    units = token_units(batch)
    torch.testing.assert_close(geometric_mean(batch, units), token_ratio(batch, units))


def test_constant_entropy_makes_the_adaptive_bound_a_fixed_one() -> None:
    """Where every entropy is log V, epsilon is alpha itself: one group of ESPO is then symmetric GSPO."""
    responses = [replace(one, entropy=[0.0] * len(one.entropy)) for one in random_responses(4)]
    flat = token_batch(responses)
    flat = replace(flat, entropy_old=torch.full_like(flat.entropy_old, flat.vocab_size).log())
    one_group = get_objective("espo", alpha=0.01, quantiles=[])(flat)
    gspo = get_objective("gspo", epsilon_low=0.01, epsilon_high=0.01)(flat)
    torch.testing.assert_close(one_group.loss, gspo.loss)
    torch.testing.assert_close(gradient_of(one_group.loss, flat), gradient_of(gspo.loss, flat))


def test_clip_fraction_falls_from_gspo_over_espo_to_grpo() -> None:
    batch: TokenBatch = token_batch(random_responses(11, count=200, spread=0.02))
    metrics = {name: get_objective(name)(batch).metrics for name in ("grpo", "espo", "gspo")}
    wider = get_objective("espo", alpha=0.1)(batch).metrics
    ordered = [one["clip_fraction"] for one in (metrics["grpo"], wider, metrics["espo"], metrics["gspo"])]
    assert ordered == sorted(ordered)
    assert ordered[0] < ordered[1] < ordered[2]
