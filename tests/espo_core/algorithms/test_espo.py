"""ESPO against its paper by hand, its reference, and its edge rules."""

import math
from typing import Any

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import TokenBatch, get_objective
from tests.espo_core.algorithms.agreement import CLIPPED, assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.entropy_groups import espo, levels_in_response
from tests.espo_core.objectives.rollouts import gradient_of, random_responses, token_batch

PARAMETERS: list[dict[str, Any]] = [
    {},
    {"alpha": 0.1},
    {"alpha": 0.1, "quantiles": (0.5,)},
    {"alpha": 0.1, "quantiles": (0.1, 0.57, 0.9)},
    {"alpha": 0.1, "quantiles": ()},
    {"alpha": 0.1, "carrier": "old"},
    {"alpha": 0.1, "quantile_scope": "batch"},
    {"alpha": 0.1, "train_groups": "top"},
    {"alpha": 0.1, "train_groups": "top", "quantile_scope": "batch"},
    {"epsilon_min": 0.02},
    {"alpha": 1e-9, "epsilon_min": 0.02},
    {"alpha": 0.5, "epsilon_min": 0.01, "carrier": "old", "quantile_scope": "batch", "quantiles": (0.3, 0.6)},
]


def hand_batch() -> TokenBatch:
    """V = 16, so an entropy of log 2 is a normalised one of 1/4; group ratios 1.1 and 1.1, then 0.5."""
    quarter = math.log(2)
    log_ratio = [math.log(1.1)] * 5 + [math.log(0.5)]
    logp_old = torch.tensor([-1.0, -2.0, -0.5, -0.25, -1.5, -0.75], dtype=torch.float64)
    return TokenBatch(
        logp=(logp_old + torch.tensor(log_ratio, dtype=torch.float64)).requires_grad_(),
        logp_old=logp_old,
        entropy_old=quarter * torch.tensor([0, 1, 2, 1, 0, 1], dtype=torch.float64),
        response=torch.tensor([0, 0, 0, 0, 0, 1]),
        advantage=torch.tensor([1.0, -1.0], dtype=torch.float64),
        vocab_size=16,
    )


def test_value_by_hand() -> None:
    """With alpha 0.4 the five tokens split 4 + 1: epsilon is 0.4/8 = 0.05 below and 0.4/2 = 0.2 on top.

    The low group's 1.1 is cut to 1.05, the top token's 1.1 stays; the second response has one token, a ratio
    of 0.5, a negative advantage and epsilon 0.1, so it is cut to -0.9. J = ((1.05 + 1.1)/2 - 0.9)/2 = 0.0875.
    """
    batch = hand_batch()
    out = get_objective("espo", alpha=0.4)(batch)
    assert out.loss.item() == pytest.approx(-0.0875, rel=1e-12)
    top_token = -1.1 / 2 / 2
    assert gradient_of(out.loss, batch).tolist() == pytest.approx([0, 0, top_token, 0, 0, 0], rel=1e-12)
    assert out.metrics == pytest.approx(
        {
            "clip_fraction": 5 / 6,
            "clip_fraction_low": 1 / 6,
            "clip_fraction_high": 4 / 6,
            "gradient_utilisation": 1 / 6,
            "ratio_mean": (5 * 1.1 + 0.5) / 6,
            "ratio_max": 1.1,
            "approx_kl": (5 * (0.1 - math.log(1.1)) + (-0.5 - math.log(0.5))) / 6,
            "epsilon_mean/0": 0.05,
            "epsilon_mean/1": (0.2 + 0.1) / 2,
        },
        rel=1e-12,
    )


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, Any]) -> None:
    assert_agrees_on_random_batches(get_objective("espo", **parameters), espo, parameters)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(espo, **PARAMETERS[1]) == CLIPPED | {"1 groups", "2 groups"}
    in_batch = branches_of(espo, alpha=0.1, train_groups="top", quantile_scope="batch")
    assert in_batch == CLIPPED | {"0 groups", "1 groups"}
    empty_levels = branches_of(espo, **PARAMETERS[3])
    assert empty_levels == CLIPPED | {"1 groups", "2 groups", "3 groups", "4 groups"}


def test_the_random_batches_have_ties_at_a_boundary() -> None:
    """Tokens of one response and one entropy, some of them above a boundary and some below."""
    responses = [one for seed in range(8) for one in random_responses(seed, count=16)]
    levels = levels_in_response(responses, (0.8,))
    tied = [
        len({k for e, k in zip(one.entropy, row, strict=True) if e == entropy}) > 1
        for one, row in zip(responses, levels, strict=True)
        for entropy in set(one.entropy)
    ]
    assert sum(tied) > 10


def test_top_group_alone_is_not_diluted_by_the_others() -> None:
    """Training the top group alone gives its tokens K_i times the weight that they have among K_i groups."""
    responses = random_responses(3)
    batch = token_batch(responses)
    every = gradient_of(get_objective("espo", alpha=10.0)(batch).loss, batch)
    top = gradient_of(get_objective("espo", alpha=10.0, train_groups="top")(batch).loss, batch)
    is_top = torch.tensor([k for row in levels_in_response(responses, (0.8,)) for k in row]) == 1
    groups = torch.tensor([1 if len(one.logp) == 1 else 2 for one in responses])[batch.response]
    assert torch.all(top[~is_top] == 0)
    torch.testing.assert_close(top[is_top], (every * groups)[is_top])


def test_metrics_count_the_trained_group_only() -> None:
    """Tokens of a group that is not trained are neither clipped nor used."""
    batch = token_batch(random_responses(3))
    unclipped = get_objective("espo", epsilon_min=1.0, train_groups="top")(batch)
    trained = gradient_of(unclipped.loss, batch) != 0
    out = get_objective("espo", train_groups="top")(batch)
    used = gradient_of(out.loss, batch) != 0
    assert 0 < int(used.sum()) < int(trained.sum()) < batch.tokens
    assert out.metrics["gradient_utilisation"] == pytest.approx(used.double().mean().item())
    assert out.metrics["clip_fraction"] == pytest.approx(1 - (used.sum() / trained.sum()).item(), rel=1e-6)


def test_smallest_trust_region_is_the_floor() -> None:
    responses = random_responses(1)
    out = get_objective("espo", alpha=1e-9, epsilon_min=0.25)(token_batch(responses))
    assert out.metrics["epsilon_mean/0"] == 0.25
    assert out.metrics["epsilon_mean/1"] == 0.25
    assert out.metrics["clip_fraction"] == 0.0


def test_no_entropy_closes_the_trust_region_but_not_at_the_old_policy() -> None:
    """At epsilon 0 every move that would earn more is clipped; at a ratio of exactly 1 nothing is."""
    responses = random_responses(2)
    expected = espo(responses, alpha=1e-12)
    gain = [one.advantage for one in responses for _ in one.logp]
    earns = [(ratio - 1) * advantage > 0 for ratio, advantage in zip(expected.ratio, gain, strict=True)]
    moved = get_objective("espo", alpha=1e-12)(token_batch(responses))
    assert moved.metrics["clip_fraction"] == pytest.approx(sum(earns) / sum(a != 0 for a in gain))
    at_old = token_batch(random_responses(2, spread=0.0))
    assert get_objective("espo", alpha=1e-12)(at_old).metrics["clip_fraction"] == 0.0


def test_level_without_a_token_is_not_reported() -> None:
    one_token = [one for one in random_responses(0) if len(one.logp) == 1]
    metrics = get_objective("espo")(token_batch(one_token)).metrics
    assert "epsilon_mean/0" not in metrics
    assert "epsilon_mean/1" in metrics


def test_warns_the_trainer_only_without_a_floor() -> None:
    assert get_objective("espo").needs_equal_numerics
    assert not get_objective("espo", epsilon_min=1e-4).needs_equal_numerics


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"quantiles": [0.8, 0.2]}, "increase strictly"),
        ({"quantiles": [0.5, 0.5]}, "increase strictly"),
        ({"quantiles": [1.0]}, "quantiles"),
        ({"quantile_scope": "prompt"}, "quantile_scope"),
        ({"train_groups": "bottom"}, "train_groups"),
        ({"carrier": "reference"}, "carrier"),
        ({"epsilon_min": -1e-6}, "epsilon_min"),
        ({"advantage": "zscored"}, "advantage"),
        ({"alhpa": 0.02}, "alpha"),
    ],
)
def test_refuses_values_out_of_bounds(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_objective("espo", **parameters)
