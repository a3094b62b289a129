"""One algorithm in terms of another, by algebra."""

from dataclasses import replace

import pytest
import torch

from espo_core.batch import TokenBatch
from espo_core.objectives import AdvantageKind, Objective, advantages, get_objective
from espo_core.objectives.aggregation import mean_over_groups, sequence_mean, token_mean
from espo_core.objectives.ratio import carried_by_current, geometric_mean, token_ratio
from espo_core.objectives.trust_region import HardClip
from espo_core.objectives.units import EntropyGroups, rank_in_response, token_units
from tests.espo_core.objectives.rollouts import gradient_of, random_responses, token_batch

CLIP = HardClip(epsilon_low=0.01, epsilon_high=0.0133)
FIXED = {"alpha": 1e-9, "epsilon_min": 0.01}
"""ESPO with a floor that every group stands on: a fixed clip."""
BOUNDS = {"epsilon_low": 0.01, "epsilon_high": 0.0133}
WIDE = {"epsilon_low": 1.0, "epsilon_high": 100.0}


def assert_same(one: Objective, other: Objective, *, value: bool = True, tolerance: float = 1e-12) -> None:
    """Two objectives agree in gradient, and in value, on several batches."""
    for seed in range(4):
        batch = token_batch(random_responses(seed))
        first, second = one(batch), other(batch)
        wanted = gradient_of(second.loss, batch)
        assert wanted.any()
        torch.testing.assert_close(gradient_of(first.loss, batch), wanted, rtol=tolerance, atol=tolerance)
        if value:
            torch.testing.assert_close(first.loss, second.loss, rtol=tolerance, atol=tolerance)


def test_gspo_is_gspo_token_in_value_and_gradient() -> None:
    assert_same(get_objective("gspo", **BOUNDS), get_objective("gspo_token", **BOUNDS))


def test_espo_with_one_group_and_fixed_bounds_is_gspo_token() -> None:
    one_group = get_objective("espo", quantiles=[], alpha=1e-12, epsilon_min=0.01)
    assert_same(one_group, get_objective("gspo_token", epsilon_low=0.01, epsilon_high=0.01))
    parts = Objective(
        units=EntropyGroups(quantiles=(), ranking=rank_in_response),
        ratio=carried_by_current,
        trust_region=CLIP,
        aggregation=mean_over_groups,
    )
    assert_same(parts, get_objective("gspo", **BOUNDS))


def test_espo_with_every_token_a_group_and_fixed_bounds_is_grpo() -> None:
    espo = replace(get_objective("espo"), units=token_units, trust_region=CLIP)
    assert_same(espo, get_objective("grpo", **BOUNDS))


def test_espo_with_every_token_of_a_response_of_one_a_group_is_grpo() -> None:
    """Responses of one token leave nothing to group, whatever the quantiles."""
    short = [one for seed in range(6) for one in random_responses(seed) if len(one.logp) == 1]
    batch = token_batch(short)
    espo = get_objective("espo", alpha=1e-12, epsilon_min=0.01)(batch)
    grpo = get_objective("grpo", epsilon_low=0.01, epsilon_high=0.01)(batch)
    torch.testing.assert_close(espo.loss, grpo.loss)
    assert espo.metrics["clip_fraction"] == grpo.metrics["clip_fraction"] > 0


@pytest.mark.parametrize(("low", "high"), [(0.98, 1.03), (0.9, 1.2)])
def test_bapo_with_frozen_bounds_is_grpo_with_those_bounds_over_tokens(low: float, high: float) -> None:
    frozen = get_objective("bapo", low_start=low, low_end=low, high_start=high, high_end=high)
    grpo = get_objective("grpo", epsilon_low=1 - low, epsilon_high=high - 1)
    assert_same(frozen, replace(grpo, aggregation=token_mean))
    assert_same(frozen, get_objective("dapo", epsilon_low=1 - low, epsilon_high=high - 1))


def test_dr_grpo_is_grpo_without_standard_deviation_and_length() -> None:
    """Dr. GRPO's loss is Σ_i |y_i| (std + δ) / (R L) times GRPO's on y_i alone, whose Â is over std + δ."""
    for seed in range(4):
        batch = token_batch(random_responses(seed))
        outcomes = batch.outcomes()
        z, centred = (advantages(*outcomes, kind) for kind in ("zscore", "centred"))
        scale = torch.where(z == 0, 0.0, centred / z) * batch.lengths() / (batch.responses * 14)
        each = [
            get_objective("grpo", **BOUNDS)(part).loss for part in one_by_one(replace(batch, advantage=z))
        ]
        wanted = (torch.stack(each) * scale).sum()
        found = get_objective("dr_grpo", **BOUNDS, length=14)(replace(batch, advantage=centred)).loss
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(gradient_of(found, batch), gradient_of(wanted, batch))


def one_by_one(batch: TokenBatch) -> list[TokenBatch]:
    """Each response as a batch."""
    return [batch.select(torch.tensor([i])) for i in range(batch.responses)]


def test_dapo_weighs_each_response_of_grpo_by_its_tokens() -> None:
    batch = token_batch(random_responses(1))
    each = torch.stack([get_objective("grpo", **BOUNDS)(part).loss for part in one_by_one(batch)])
    found = get_objective("dapo", **BOUNDS)(batch).loss
    torch.testing.assert_close(found, (each * batch.lengths()).sum() / batch.tokens)


def test_without_bounds_gmpo_is_gspo() -> None:
    assert_same(get_objective("gmpo", log_bound=100.0), get_objective("gspo", **WIDE))


def test_arctan_gate_without_curvature_is_gspo_without_bounds() -> None:
    """arctan(κℓ)/κ is ℓ − κ²ℓ³/3: at κ = 1e-4 the difference is under 1e-11."""
    flat = get_objective("sspo", gate="arctan", kappa=1e-4)
    assert_same(flat, get_objective("gspo", **WIDE), tolerance=1e-9)


def test_flat_gate_of_sapo_is_importance_sampling_in_gradient() -> None:
    """As τ goes to 0 the gate's slope goes to 1 everywhere."""
    flat = get_objective("sapo", temperature_positive=1e-5, temperature_negative=1e-5)
    assert_same(flat, get_objective("grpo", **WIDE), value=False, tolerance=1e-9)


def test_unbounded_weights_of_cispo_have_the_gradient_of_importance_sampling() -> None:
    assert_same(
        get_objective("cispo", epsilon_high=100.0),
        replace(get_objective("grpo", **WIDE), aggregation=token_mean),
        value=False,
    )


def test_elastic_bounds_that_do_not_stretch_are_grpo() -> None:
    stiff = get_objective("etr", epsilon=0.01, lambda_micro=0.0, lambda_macro=0.0)
    assert_same(stiff, get_objective("grpo", epsilon_low=0.01, epsilon_high=0.01))


def test_no_entropy_bonus_is_grpo() -> None:
    assert_same(get_objective("aer", **BOUNDS, coefficient=0.0), get_objective("grpo", **BOUNDS))
    easy = get_objective("aer", **BOUNDS, coefficient=1.0, difficulty=0.0)
    assert_same(easy, get_objective("grpo", **BOUNDS))


def test_no_reweighting_is_dapo() -> None:
    assert_same(get_objective("arm", **BOUNDS, weight=0.0), get_objective("dapo", **BOUNDS))


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo"])
def test_distant_dual_clip_changes_nothing(name: str) -> None:
    assert_same(get_objective(name, **BOUNDS, dual_clip=1000.0), get_objective(name, **BOUNDS))


@pytest.mark.parametrize("name", ["grpo", "espo"])
@pytest.mark.parametrize("kind", ["zscore", "centred", "leave_one_out", "batch_std"])
def test_baseline_that_has_seen_nothing_is_the_group_mean(name: str, kind: AdvantageKind) -> None:
    batch = token_batch(random_responses(2))
    batch = replace(batch, advantage=advantages(*batch.outcomes(), kind=kind))
    prepared = get_objective(name, baseline="entropy_trajectory", advantage=kind).prepare(batch)
    torch.testing.assert_close(prepared.token_advantage, batch.token_advantage, rtol=1e-12, atol=1e-14)
    assert torch.equal(prepared.token_advantage == 0, batch.token_advantage == 0)


def test_geometric_mean_of_one_token_is_its_own_ratio() -> None:
    batch = token_batch(random_responses(0))
    units = token_units(batch)
    torch.testing.assert_close(geometric_mean(batch, units).value, token_ratio(batch, units).value)


def test_weights_of_every_mean_sum_to_one() -> None:
    batch = token_batch(random_responses(0))
    for objective in (get_objective("espo"), get_objective("grpo"), get_objective("dapo")):
        weight = objective.aggregation(batch, objective.units(batch))
        assert weight.sum().item() == pytest.approx(1.0)
    assert sequence_mean(batch, token_units(batch)).min() > 0


def test_constant_entropy_makes_the_adaptive_bound_a_fixed_one() -> None:
    """Where every entropy is log V, epsilon is alpha itself: one group of ESPO is then symmetric GSPO."""
    responses = [replace(one, entropy=[0.0] * len(one.entropy)) for one in random_responses(4)]
    flat = token_batch(responses)
    flat = replace(flat, entropy_old=torch.full_like(flat.entropy_old, flat.vocab_size).log())
    one_group = get_objective("espo", alpha=0.01, quantiles=[])(flat)
    gspo = get_objective("gspo", epsilon_low=0.01, epsilon_high=0.01)(flat)
    torch.testing.assert_close(one_group.loss, gspo.loss)
    torch.testing.assert_close(gradient_of(one_group.loss, flat), gradient_of(gspo.loss, flat))
