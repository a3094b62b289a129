from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from espo_contracts.spec import OptimiserSpec
from espo_core.batch import TokenBatch
from espo_core.experience import Experience, make_experience, micro_batches
from espo_core.learner import Learner
from espo_core.objectives import Objective, get_objective
from espo_core.optim import Optimiser
from espo_core.policy import Policy
from espo_core.prompts import Prompt
from espo_core.report import Turn
from espo_core.rewards import Scored
from espo_core.rollout.engine import Sampling
from espo_core.rollout.native import NativeEngine
from espo_core.verifiers import Score

PROMPTS = [Prompt(text="", tokens=tokens, row={}) for tokens in [(3, 4), (5,), (6, 7, 8), (9, 10)]]
# BAPO's search must end at other bounds than it begins with.
PARAMETERS: dict[str, dict[str, object]] = {"espo": {"alpha": 0.1}, "bapo": {"positive_share": 0.9}}
ADVANTAGE = [1.0, -1.0, 0.5, -0.5, 0.0, 0.0, 0.0, 0.0, 2.0, -2.0, 1.0, -1.0, 0.0, 1.0, 0.0, -1.0]


def experience(policy: Policy) -> Experience:
    rollout = NativeEngine(policy=policy).generate(
        [prompt.tokens for prompt in PROMPTS], Sampling(responses=4, max_new_tokens=20), seed=0
    )
    scores = [Score(reward=one, verified=True, parts={}) for one in ADVANTAGE]
    scored = Scored(completions=[""] * 16, scores=scores)
    turn = Turn(step=1, prompts=PROMPTS, rollout=rollout, scored=scored, advantage=torch.tensor(ADVANTAGE))
    return make_experience(policy, turn)


def objective_of(name: str) -> Objective:
    return get_objective(name, **PARAMETERS.get(name, {}))


def off_policy(seen: Experience) -> Experience:
    """The same, sampled by a policy that differs enough for ratios to be clipped."""
    noise = torch.randn(seen.batch.tokens, generator=torch.Generator().manual_seed(0)) * 0.3
    return replace(seen, batch=replace(seen.batch, logp_old=seen.batch.logp_old + noise))


def learner(policy: Policy, **spec: object) -> Learner:
    optimiser = OptimiserSpec.model_validate({"learning_rate": 0.01, "mini_batches": 1, **spec})
    return Learner(
        policy=policy,
        optimiser=Optimiser(policy.trainable(), optimiser),
        spec=optimiser,
        temperature=1.0,
        seed=0,
    )


def weights_after(policy: Policy, one: Learner) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    metrics = one.learn(objective_of("espo"), experience(policy), step=1, rate=0.01)
    return {name: value.detach().clone() for name, value in policy.trainable().items()}, metrics


def naive_gradient(policy: Policy, seen: Experience, name: str) -> dict[str, torch.Tensor]:
    """The objective over all responses at once, from the logits of one plain forward a response."""
    parts, entropies = [], []
    for index in range(16):
        start, length = int(seen.prompt_lengths[index]), int(seen.lengths[index])
        ids = torch.from_numpy(seen.ids[index : index + 1, : start + length])
        logp = policy.model(input_ids=ids).logits[0, start - 1 : -1].log_softmax(-1)
        parts.append(logp.gather(1, ids[0, start:, None])[:, 0])
        entropies.append(-(logp.exp() * logp).sum(-1))
    batch: TokenBatch = replace(seen.batch, logp=torch.cat(parts), entropy=torch.cat(entropies))
    objective_of(name)(batch).loss.backward()  # type: ignore[no-untyped-call]
    return {key: one.grad.clone() for key, one in policy.trainable().items() if one.grad is not None}


@pytest.mark.parametrize("name", ["espo", "grpo", "gspo", "bapo", "arm", "etr", "aer"])
@pytest.mark.parametrize("micro_batch_tokens", [64, 16384])
def test_the_gradient_is_that_of_the_whole_batch(name: str, micro_batch_tokens: int, policy: Policy) -> None:
    seen = off_policy(experience(policy))
    expected = naive_gradient(policy, seen, name)
    policy.model.zero_grad()
    one = learner(policy, micro_batch_tokens=micro_batch_tokens)
    captured: dict[str, torch.Tensor] = {}

    def capture(rate: float) -> float:
        captured.update({key: p.grad.clone() for key, p in policy.trainable().items() if p.grad is not None})
        return 0.0

    one.optimiser.update = capture  # type: ignore[method-assign]
    one.learn(objective_of(name), seen, step=1, rate=0.01)
    for key, gradient in expected.items():
        torch.testing.assert_close(captured[key], gradient, atol=1e-5, rtol=1e-4)


def test_micro_batches_change_rounding_only(policy: Policy) -> None:
    start = {name: one.detach().clone() for name, one in policy.trainable().items()}
    whole, told = weights_after(policy, learner(policy))
    with torch.no_grad():
        for name, one in policy.trainable().items():
            one.copy_(start[name])
    parts, told_again = weights_after(policy, learner(policy, micro_batch_tokens=64))
    assert told_again == pytest.approx(told, rel=1e-3, abs=1e-6)
    # AdamW's first step is the sign of the gradient, so compare where it is clear of rounding.
    agree = sum(int((whole[name] - parts[name]).abs().lt(1e-3).sum()) for name in whole)
    assert agree >= 0.99 * sum(one.numel() for one in whole.values())


def test_parts_are_bounded_and_hold_each_response_once(policy: Policy) -> None:
    seen = experience(policy)
    parts = list(micro_batches(seen, np.arange(16), max_tokens=40))
    assert sorted(np.concatenate([part.responses for part in parts]).tolist()) == list(range(16))
    assert 1 < len(parts) < 16
    assert all(part.forest.nodes <= 40 for part in parts)
    assert len(list(micro_batches(seen, np.arange(16), max_tokens=1))) == 16


def test_mini_batches_take_whole_groups_once_an_epoch(policy: Policy) -> None:
    one = learner(policy, mini_batches=3, epochs=2)
    batches = [part.tolist() for part in one._mini_batches(experience(policy), step=1)]
    assert len(batches) == 6
    for epoch in (batches[:3], batches[3:]):
        assert sorted(response for part in epoch for response in part) == list(range(16))
        assert all(part[start + 3] == part[start] + 3 for part in epoch for start in range(0, len(part), 4))
    assert batches[:3] != batches[3:]


def test_a_batch_without_contrast_has_no_loss(policy: Policy) -> None:
    seen = experience(policy)
    flat = replace(seen, batch=replace(seen.batch, advantage=torch.zeros(16)))
    start = {name: one.detach().clone() for name, one in policy.trainable().items()}
    metrics = learner(policy).learn(objective_of("espo"), flat, step=1, rate=0.01)
    assert (metrics["policy/loss"], metrics["optimiser/gradient_norm"], metrics["policy/clip_fraction"]) == (
        0,
        0,
        0,
    )
    assert all(torch.equal(one, start[name]) for name, one in policy.trainable().items())
