"""Our objectives and advantages against TRL's and verl's own functions."""

from dataclasses import replace

import pytest
import torch

from bench.peers.advantages import (
    ADVANTAGE_CASES,
    GROUP,
    AdvantageCase,
    Rewards,
    random_rewards,
)
from bench.peers.agreement import SIZE, SPREAD, difference
from bench.peers.cases import CASES, Case
from bench.peers.installed import missing
from bench.peers.padded import padded
from bench.peers.random_batch import random_batch
from bench.peers.trl_loss import TrlLoss, trl_advantages
from bench.peers.verl_loss import VerlLoss, verl_advantages
from espo_core.objectives import advantages, get_objective

pytestmark = [
    pytest.mark.peers,
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

TOLERANCES = [(torch.float64, 1e-12), (torch.float32, 2e-6)]


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES, ids=["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_objective(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    if dtype == torch.float64:
        tolerance = case.float64_tolerance
    for seed in range(3):
        found = difference(case, seed=seed, dtype=dtype)
        assert max(found.loss, found.gradient) < tolerance


@pytest.mark.parametrize("parameters", [{}, {"epsilon_high": 0.28}, {"dual_clip": 2.0}], ids=str)
def test_the_batches_are_clipped_on_both_sides(parameters: dict[str, float]) -> None:
    metrics = get_objective("grpo", **parameters)(
        random_batch(SIZE, seed=0, dtype=torch.float64, spread=SPREAD)
    ).metrics
    assert metrics["clip_fraction_low"] > 0.1
    assert metrics["clip_fraction_high"] > 0.1
    assert metrics["gradient_utilisation"] > 0.3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("grpo", TrlLoss(loss_type="grpo", epsilon_high=0.28)),
        ("grpo", TrlLoss(loss_type="dapo")),
        ("dapo", VerlLoss(settings={"clip_ratio_high": 0.28})),
        ("grpo", VerlLoss(settings={"clip_ratio_c": 1.5})),
        ("gspo", VerlLoss(mode="gspo", loss_agg_mode="token-mean", settings={"clip_ratio_low": 3e-4})),
    ],
    ids=str,
)
def test_another_configuration_of_a_peer_is_told_apart(ours: str, theirs: TrlLoss | VerlLoss) -> None:
    case = Case(peer="trl", algorithm=ours, objective=lambda: get_objective(ours), loss=theirs)
    assert difference(case, seed=0, dtype=torch.float64).gradient > 1e-3


@pytest.mark.parametrize(
    "case", [one for one in CASES if isinstance(one.loss, TrlLoss)], ids=lambda case: case.name
)
def test_the_timed_lines_of_trl_are_its_whole_loss(case: Case) -> None:
    batch = padded(random_batch(SIZE, seed=0, dtype=torch.float64, spread=SPREAD))
    assert isinstance(case.loss, TrlLoss)
    assert case.loss.bind(batch, whole=False)().item() == case.loss.bind(batch)().item()


@pytest.mark.parametrize(("ours", "peer"), [("gspo_token", "trl"), ("gspo", "verl")])
def test_gspo_and_gspo_token_differ_where_advantages_differ_within_a_response(ours: str, peer: str) -> None:
    (case,) = (one for one in CASES if one.peer == peer and one.has_token_advantages)
    crossed = replace(case, objective=lambda: get_objective(ours))
    assert difference(crossed, seed=0, dtype=torch.float64).gradient > 1e-3


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES, ids=["float64", "float32"])
@pytest.mark.parametrize("case", ADVANTAGE_CASES, ids=lambda case: f"{case.peer}: {case.kind}")
def test_advantage(case: AdvantageCase, dtype: torch.dtype, tolerance: float) -> None:
    if dtype == torch.float64:
        tolerance = case.float64_tolerance
    for seed in range(3):
        rewards = random_rewards(seed=seed, dtype=dtype, unverified=case.knows_unverified)
        assert case.difference(rewards) < tolerance


def test_equal_rewards_are_exactly_0_with_us_and_rounding_noise_with_verl() -> None:
    rewards = torch.full((GROUP - 1,), 0.1)
    group = torch.zeros(GROUP - 1, dtype=torch.int64)
    ours = advantages(rewards, torch.ones_like(rewards, dtype=torch.bool), group)
    assert torch.all(ours == 0)
    assert verl_advantages(rewards, group, estimator="grpo").abs().max() > 1e-3


def test_a_lone_response_has_no_advantage_with_us_and_its_reward_with_verl() -> None:
    rewards, group = torch.tensor([0.7]), torch.tensor([0])
    assert advantages(rewards, torch.tensor([True]), group).tolist() == [0]
    assert verl_advantages(rewards, group, estimator="grpo").tolist() == pytest.approx([0.7])


def test_an_unverified_response_counts_for_nothing_with_us_and_trl() -> None:
    rewards = Rewards(
        reward=torch.tensor([1.0, 0, 0, 1, 0, 1, 1, 100]),
        verified=torch.tensor([True] * 7 + [False]),
        group=torch.zeros(GROUP, dtype=torch.int64),
    )
    ours = advantages(rewards.reward, rewards.verified, rewards.group, kind="centred")
    theirs = trl_advantages(rewards.reward, rewards.verified, group=GROUP, scale="none")
    torch.testing.assert_close(ours, theirs)
    assert ours[7] == 0
