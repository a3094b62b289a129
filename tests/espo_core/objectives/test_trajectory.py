"""The entropy-trajectory baseline against a loop, and that it cannot know the outcome."""

import random
from dataclasses import replace

import pytest
import torch

from espo_core.objectives import Objective, advantages, get_objective
from tests.espo_core.objectives.references.trajectory import History
from tests.espo_core.objectives.rollouts import Response, random_responses, token_batch, with_zscores


def batches(count: int, *, seed: int = 0) -> list[list[Response]]:
    """Rollout batches, each with a response longer than the positions that have weights of their own."""
    return [_with_a_long_one(random_responses(seed + i, count=24), seed + i) for i in range(count)]


def _with_a_long_one(responses: list[Response], seed: int) -> list[Response]:
    random_state = random.Random(seed)
    longest = max(range(len(responses)), key=lambda i: len(responses[i].logp))
    names = ("logp", "logp_old", "entropy", "entropy_now", "logp_ref")
    picked = [random_state.randrange(len(responses[longest].logp)) for _ in range(70)]
    stretched = {name: [getattr(responses[longest], name)[t] for t in picked] for name in names}
    responses[longest] = replace(responses[longest], **stretched)
    return responses


def trained(history: list[list[Response]]) -> Objective:
    """GRPO with the baseline, after these batches."""
    objective = get_objective("grpo", baseline="entropy_trajectory")
    for responses in history:
        objective = objective.observed(token_batch(responses))
    return objective


def assert_follows(history: History, objective: Objective, responses: list[Response]) -> None:
    wanted = [value for row in history.advantages(responses) for value in row]
    found = objective.prepare(token_batch(responses)).token_advantage.tolist()
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_agrees_with_a_loop_over_tokens() -> None:
    history, objective = History(), trained([])
    for responses in batches(4):
        assert_follows(history, objective, responses)
        history.observe(responses)
        objective = objective.observed(token_batch(responses))
    assert history.branches == {"inside", "low", "high"}


def test_agrees_where_rewards_leave_the_unit_interval() -> None:
    history, objective = History(), trained([])
    for responses in batches(3, seed=50):
        scaled = with_zscores([replace(one, reward=4 * one.reward - 1) for one in responses])
        assert_follows(history, objective, scaled)
        history.observe(scaled)
        objective = objective.observed(token_batch(scaled))
    assert (history.low, history.high) == (-1.0, 3.0)


def test_continues_from_its_state() -> None:
    objective = trained(batches(3))
    restored = trained([]).restored(objective.state())
    (responses,) = batches(1, seed=9)
    batch = token_batch(responses)
    assert torch.equal(restored.prepare(batch).token_advantage, objective.prepare(batch).token_advantage)
    assert not torch.equal(
        trained([]).prepare(batch).token_advantage, objective.prepare(batch).token_advantage
    )
    later, same = objective.observed(batch).state(), restored.observed(batch).state()
    assert set(later) == set(same)
    assert all(torch.equal(later[name], same[name]) for name in later)


def test_observing_leaves_the_objective_as_it_was() -> None:
    objective = trained(batches(1))
    before = {name: value.clone() for name, value in objective.state().items()}
    objective.observed(token_batch(batches(1, seed=3)[0]))
    assert all(torch.equal(before[name], value) for name, value in objective.state().items())


def values(objective: Objective, responses: list[Response]) -> torch.Tensor:
    """V_t of each token where Â_t = (R − V_t) (n − 1)/n, from a group of four."""
    batch = token_batch(responses)
    credit = objective.prepare(batch).token_advantage
    assert batch.reward is not None
    return batch.reward[batch.response] - credit * 4 / 3


def test_knows_neither_its_own_reward_nor_what_comes_after() -> None:
    """So it adds no bias: the baseline of a token does not move with the outcome or with later tokens."""
    objective = get_objective("grpo", baseline="entropy_trajectory", advantage="centred")
    for responses in batches(3):
        objective = objective.observed(token_batch(responses))
    four = [replace(one, group=1, verified=True) for one in random_responses(5) if len(one.logp) > 3][:4]
    four = [replace(one, reward=reward) for one, reward in zip(four, (1.0, 0.0, 0.25, 0.75), strict=True)]
    n = len(four[0].logp)
    before = values(objective, four)[:n]
    outcome = [replace(four[0], reward=0.5), *four[1:]]
    torch.testing.assert_close(values(objective, outcome)[:n], before)
    later = replace(
        four[0],
        entropy=[*four[0].entropy[:-1], 7.0],
        logp_old=[*four[0].logp_old[:-2], -9.0, -9.0],
    )
    moved = values(objective, [later, *four[1:]])[:n]
    torch.testing.assert_close(moved[:-1], before[:-1])
    assert moved[-1] != before[-1]


def test_learns_to_foretell_a_reward_that_entropy_tells() -> None:
    """Where a high first entropy means success, the advantages after some batches are smaller than before."""
    objective = get_objective("grpo", baseline="entropy_trajectory", advantage="centred")
    for step in range(12):
        objective = objective.observed(token_batch(foretold(step)))
    batch = token_batch(foretold(99))
    plain = advantages(*batch.outcomes(), kind="centred")[batch.response]
    explained = 1 - objective.prepare(batch).token_advantage.square().mean() / plain.square().mean()
    assert explained > 0.3


def foretold(seed: int) -> list[Response]:
    """Responses whose reward is 1 where their first entropy is above a half."""
    responses = [replace(one, verified=True) for one in random_responses(seed, count=40)]
    return [replace(one, reward=float(one.entropy[0] > 0.5)) for one in responses]
