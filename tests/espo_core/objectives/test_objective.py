"""What every objective does: requirements, metrics over micro-batches, look-up by name."""

from dataclasses import replace

import pytest
import torch

from espo_core.algorithms import ALGORITHMS
from espo_core.batch import TokenBatch, Totals
from espo_core.errors import ConfigError
from espo_core.objectives import advantages, combined_metrics, get_objective
from tests.espo_core.algorithms.variants import objective_of
from tests.espo_core.objectives.rollouts import gradient_of, random_responses, token_batch

EVERY_METRIC = {
    "clip_fraction",
    "clip_fraction_low",
    "clip_fraction_high",
    "gradient_utilisation",
    "ratio_mean",
    "ratio_max",
    "approx_kl",
}


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_reports_every_metric_as_a_plain_number(name: str) -> None:
    metrics = get_objective(name)(token_batch(random_responses(0))).metrics
    assert set(metrics) >= EVERY_METRIC
    assert all(type(value) is float for value in metrics.values())


@pytest.mark.parametrize("name", list(ALGORITHMS))
@pytest.mark.parametrize("seed", range(4))
def test_gradient_utilisation_counts_the_tokens_with_gradient(name: str, seed: int) -> None:
    batch = token_batch(random_responses(seed))
    out = get_objective(name)(batch)
    has_gradient = gradient_of(out.loss, batch) != 0
    assert out.metrics["gradient_utilisation"] == pytest.approx(has_gradient.double().mean().item())
    active = batch.token_advantage != 0
    clipped = (active & ~has_gradient).sum() / active.sum()
    assert out.metrics["clip_fraction"] == pytest.approx(clipped.item(), rel=1e-6)


def test_batch_without_contrast_has_no_loss_and_finite_metrics() -> None:
    responses = [replace(one, advantage=0.0) for one in random_responses(1)]
    batch = token_batch(responses)
    out = get_objective("espo")(batch)
    assert out.loss.item() == 0.0
    assert not gradient_of(out.loss, batch).any()
    assert out.metrics["clip_fraction"] == out.metrics["gradient_utilisation"] == 0.0


def test_metrics_of_micro_batches_weigh_by_tokens_and_take_the_largest_ratio() -> None:
    objective = get_objective("espo")
    batch = objective.prepare(token_batch(random_responses(2)))
    halves = [objective(batch.select(torch.arange(*span))) for span in ((0, 3), (3, 12))]
    assert combined_metrics(halves) == pytest.approx(objective(batch).metrics, rel=1e-12)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_weight_says_how_many_times_a_response_counts(name: str) -> None:
    """Loss and gradient scale response by response while the means keep their denominators."""
    objective = objective_of(name)
    batch = objective.prepare(token_batch(random_responses(3)))
    objective = objective.fitted(batch)
    weight = torch.tensor([0.0, 1.0, 2.5] * 4, dtype=torch.float64)
    plain, weighted = objective(batch), objective(replace(batch, weight=weight))
    scaled = gradient_of(plain.loss, batch) * weight[batch.response]
    torch.testing.assert_close(gradient_of(weighted.loss, batch), scaled, rtol=1e-12, atol=1e-16)
    each = [objective(batch_of_one(batch, i)).loss for i in range(batch.responses)]
    torch.testing.assert_close(torch.stack(each).sum(), plain.loss, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close((torch.stack(each) * weight).sum(), weighted.loss, rtol=1e-12, atol=1e-14)


def batch_of_one(batch: TokenBatch, response: int) -> TokenBatch:
    """One response of a mini-batch, as a micro-batch."""
    totals = Totals(responses=batch.responses, tokens=batch.tokens)
    return replace(batch.select(torch.tensor([response])), totals=totals)


def test_response_of_weight_zero_is_not_counted_as_trained() -> None:
    batch = token_batch(random_responses(0))
    out = get_objective("grpo")(replace(batch, weight=torch.zeros_like(batch.advantage)))
    assert out.loss.item() == out.metrics["gradient_utilisation"] == out.metrics["clip_fraction"] == 0.0


def test_group_mean_is_over_the_verified_alone() -> None:
    """A prompt without a verdict has mean 0; missing `verified` means that all were."""
    batch = replace(
        token_batch(random_responses(0, count=4)),
        reward=torch.tensor([1.0, 0.0, float("nan"), 0.5], dtype=torch.float64),
        verified=torch.tensor([True, True, False, False]),
        group=torch.tensor([8, 8, 8, 3]),
    )
    objective = get_objective("etr")
    assert objective.prepare(batch).group_mean.tolist() == [0.5, 0.5, 0.5, 0.0]
    everyone = replace(batch, verified=None, reward=torch.tensor([1.0, 0.0, 0.5, 0.5], dtype=torch.float64))
    assert objective.prepare(everyone).group_mean.tolist() == [0.5, 0.5, 0.5, 0.5]
    bare = replace(batch, reward=None, group=None)
    assert get_objective("grpo").prepare(bare).group_mean is None


def test_only_a_searched_trust_region_needs_a_whole_mini_batch() -> None:
    needs = {name for name in ALGORITHMS if get_objective(name).needs_whole_mini_batch}
    assert needs == {"bapo"}
    plain = get_objective("grpo")
    assert plain.fitted(token_batch(random_responses(0))) is plain


def test_state_of_the_adaptive_parts_alone_is_kept() -> None:
    assert {name for name in ALGORITHMS if get_objective(name).state()} == {"aer", "grpo_trajectory"}
    both = replace(get_objective("aer"), credit=get_objective("espo", baseline="entropy_trajectory").credit)
    batch = token_batch(random_responses(0))
    seen = both.observed(batch)
    assert {key.split("/")[0] for key in seen.state()} == {"credit", "regularizer0"}
    again = both.restored(seen.state()).state()
    assert all(torch.equal(again[key], value) for key, value in seen.state().items())
    learnt = {"credit/count", "credit/moment", "credit/covariance", "regularizer0/target"}
    assert not any(torch.equal(both.state()[key], seen.state()[key]) for key in learnt)


@pytest.mark.parametrize(
    ("name", "missing"), [("etr", "reward"), ("etr", "group"), ("aer", "entropy"), ("arm", "reward")]
)
def test_missing_outcome_is_named(name: str, missing: str) -> None:
    batch = replace(token_batch(random_responses(0)), **{missing: None})
    with pytest.raises(ConfigError, match=missing):
        get_objective(name)(batch)


def test_missing_field_is_named() -> None:
    batch = replace(token_batch(random_responses(0)), logp_ref=None)
    with pytest.raises(ConfigError, match=r"TokenBatch\.logp_ref"):
        get_objective("grpo", kl_coefficient=0.1)(batch)
    get_objective("grpo")(batch)


def test_works_without_gradient() -> None:
    with torch.no_grad():
        out = get_objective("espo")(token_batch(random_responses(0)))
    assert not out.loss.requires_grad
    assert set(out.metrics) >= EVERY_METRIC


def test_advantage_kind_is_one_that_advantages_takes() -> None:
    objective = get_objective("espo", advantage="leave_one_out")
    assert objective.advantage_kind == "leave_one_out"
    rewards, group = torch.tensor([0.0, 1.0]), torch.zeros(2, dtype=torch.int64)
    assert advantages(rewards, rewards >= 0, group, objective.advantage_kind).tolist() == [-1, 1]


def test_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'espo'\? \(valid: .*grpo.*gspo"):
        get_objective("epso")


def test_unknown_parameter_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"alhpa.*did you mean alpha.*quantile_scope"):
        get_objective("espo", alhpa=0.1)


def test_every_wrong_parameter_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"epsilon_low.*epsilon_high.*beta"):
        get_objective("grpo", epsilon_low=-1, epsilon_high=-1, beta=0.1)
