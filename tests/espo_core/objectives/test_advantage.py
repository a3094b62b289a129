"""Advantages by hand, against a loop over groups, and at their edges."""

import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espo_core.errors import ConfigError, VerifierError
from espo_core.objectives import AdvantageKind, advantages

KINDS: list[AdvantageKind] = ["zscore", "centred", "leave_one_out", "batch_std"]


def advantages_of(
    rewards: list[float],
    *,
    verified: list[bool] | None = None,
    group: list[int] | None = None,
    kind: AdvantageKind = "zscore",
) -> list[float]:
    """Advantages of plain lists, in float64."""
    found = advantages(
        torch.tensor(rewards, dtype=torch.float64),
        torch.tensor([True] * len(rewards) if verified is None else verified),
        torch.tensor([0] * len(rewards) if group is None else group),
        kind,
    )
    return found.tolist()


def test_zscore_by_hand() -> None:
    """Rewards 0, 0, 1, 1: mean 1/2, unbiased variance 4/4 / 3 = 1/3."""
    z = 0.5 / ((1 / 3) ** 0.5 + 1e-6)
    assert advantages_of([0, 0, 1, 1]) == pytest.approx([-z, -z, z, z], rel=1e-14)


def test_centred_by_hand() -> None:
    assert advantages_of([0, 0, 3], kind="centred") == pytest.approx([-1, -1, 2], rel=1e-14)


def test_leave_one_out_by_hand() -> None:
    """Each reward less the mean of the other two."""
    assert advantages_of([0, 1, 3], kind="leave_one_out") == pytest.approx([-2, -0.5, 2.5], rel=1e-14)


def test_batch_std_by_hand() -> None:
    """Group means 1 and 11; the batch's mean is 6, its unbiased variance (36 + 16 + 16 + 36) / 3."""
    std = (104 / 3) ** 0.5 + 1e-6
    wanted = [-1 / std, 1 / std, -1 / std, 1 / std]
    assert advantages_of([0, 2, 10, 12], group=[0, 0, 1, 1], kind="batch_std") == pytest.approx(
        wanted, rel=1e-14
    )


def test_unverified_responses_get_zero_and_leave_the_statistics_alone() -> None:
    nan = float("nan")
    found = advantages_of([0, 0, nan, 1, 1, 7], verified=[True, True, False, True, True, False])
    assert [found[i] for i in (0, 1, 3, 4)] == advantages_of([0, 0, 1, 1])
    assert found[2] == found[5] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_no_contrast_is_exactly_zero(kind: AdvantageKind) -> None:
    """The mean of three times 0.1 is not 0.1: a rounding error over delta would train on noise."""
    assert advantages_of([0.1, 0.1, 0.1], kind=kind) == [0, 0, 0]
    assert advantages_of([0.3], kind=kind) == [0]
    assert advantages_of([0.3, 0.9], verified=[True, False], kind=kind) == [0, 0]
    assert advantages_of([0.3, 0.9], verified=[False, False], kind=kind) == [0, 0]


def loop_reference(
    rewards: list[float], verified: list[bool], group: list[int], kind: AdvantageKind
) -> list[float]:
    """The four kinds with the statistics module, one response at a time."""
    everyone = [r for r, ok in zip(rewards, verified, strict=True) if ok]
    found = []
    for i, reward in enumerate(rewards):
        mates = [j for j in range(len(rewards)) if group[j] == group[i] and verified[j]]
        peers = [rewards[j] for j in mates]
        if not verified[i] or len(set(peers)) < 2:
            found.append(0.0)
            continue
        others = [rewards[j] for j in mates if j != i]
        deviation = reward - statistics.fmean(peers)
        found.append(
            {
                "zscore": deviation / (statistics.stdev(peers) + 1e-6),
                "centred": deviation,
                "leave_one_out": reward - statistics.fmean(others),
                "batch_std": deviation / (statistics.stdev(everyone) + 1e-6),
            }[kind]
        )
    return found


response = st.tuples(
    st.sampled_from([-1.0, 0.0, 0.1, 0.5, 1.0]), st.booleans(), st.sampled_from([-3, 0, 1, 9])
)


@settings(max_examples=60, deadline=None)
@given(responses=st.lists(response, min_size=1, max_size=24), kind=st.sampled_from(KINDS))
def test_agrees_with_a_loop_over_groups(
    responses: list[tuple[float, bool, int]], kind: AdvantageKind
) -> None:
    rewards, verified, group = (list(column) for column in zip(*responses, strict=True))
    found = advantages_of(rewards, verified=verified, group=group, kind=kind)
    assert found == pytest.approx(loop_reference(rewards, verified, group, kind), rel=1e-12, abs=1e-14)


def test_float32_stays_float32() -> None:
    rewards = torch.tensor([0.0, 1.0])
    assert advantages(rewards, rewards > -1, torch.tensor([4, 4])).dtype == torch.float32


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_reward_that_is_no_number_names_its_response(bad: float) -> None:
    with pytest.raises(VerifierError, match="response 1 "):
        advantages_of([0.0, bad])


def test_wrong_arguments_are_refused() -> None:
    rewards, verified, group = (
        torch.zeros(2),
        torch.ones(2, dtype=torch.bool),
        torch.zeros(2, dtype=torch.int64),
    )
    for arguments in (
        (rewards.long(), verified, group),
        (rewards[None], verified, group),
        (rewards, verified.float(), group),
        (rewards, verified, group[:1]),
        (rewards, verified, group.int()),
    ):
        with pytest.raises(ConfigError):
            advantages(*arguments)
    with pytest.raises(ConfigError, match="did you mean 'zscore'"):
        advantages(rewards, verified, group, "z-score")  # type: ignore[arg-type]
