from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from espo_core.logprobs import token_statistics
from espo_core.policy import Policy
from espo_core.rollout import native
from espo_core.rollout.engine import Rollout, Sampling
from espo_core.rollout.native import NativeEngine, prompts_per_wave

PROMPTS = [(5, 6, 7), (8,), (9, 10, 11, 12, 13), (5, 6, 7), (14, 15)]
SAMPLING = Sampling(responses=4, max_new_tokens=40, temperature=0.9)


def generate(policy: Policy, sampling: Sampling = SAMPLING, seed: int = 1) -> Rollout:
    return NativeEngine(policy=policy).generate(PROMPTS, sampling, seed=seed)


@torch.no_grad()
def fresh_statistics(
    policy: Policy, rollout: Rollout, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies by one plain forward pass a response, without padding or cache."""
    parts = []
    for index, response in enumerate(rollout.split()):
        prompt = PROMPTS[index // SAMPLING.responses]
        hidden = policy.hidden(input_ids=torch.tensor([[*prompt, *response]]))[0, len(prompt) - 1 : -1]
        parts.append(token_statistics(hidden, policy.weight, torch.tensor(response), temperature=temperature))
    return torch.cat([one for one, _ in parts]), torch.cat([one for _, one in parts])


@pytest.mark.parametrize("temperature", [0.9, 1.0, 2.0])
def test_statistics_agree_with_a_fresh_forward_pass(policy: Policy, temperature: float) -> None:
    rollout = generate(policy, replace(SAMPLING, temperature=temperature))
    logp, entropy = fresh_statistics(policy, rollout, temperature)
    torch.testing.assert_close(rollout.logp, logp, atol=5e-6, rtol=0)
    torch.testing.assert_close(rollout.entropy, entropy, atol=5e-6, rtol=0)


def test_truncated_sampling_keeps_the_statistics_of_the_whole_policy(policy: Policy) -> None:
    rollout = generate(policy, replace(SAMPLING, temperature=1.0, top_k=3, top_p=0.9))
    logp, entropy = fresh_statistics(policy, rollout, 1.0)
    torch.testing.assert_close(rollout.logp, logp, atol=5e-6, rtol=0)
    torch.testing.assert_close(rollout.entropy, entropy, atol=5e-6, rtol=0)


def test_responses_end_at_their_end_or_at_the_limit(policy: Policy) -> None:
    rollout = generate(policy)
    (eos,) = policy.eos_ids
    responses = rollout.split()
    assert len(responses) == len(PROMPTS) * 4
    for response, is_truncated in zip(responses, rollout.is_truncated.tolist(), strict=True):
        assert eos not in response[:-1]
        assert is_truncated == (response[-1] != eos)
        assert len(response) == 40 if is_truncated else 1 <= len(response) <= 40
    assert 0 < rollout.is_truncated.sum() < len(responses)


def test_equal_prompts_get_different_responses_and_a_seed_gives_the_same(policy: Policy) -> None:
    responses = generate(policy).split()
    assert len({tuple(one) for one in responses[:4] + responses[12:16]}) > 4
    assert generate(policy).split() == responses
    assert generate(policy, seed=2).split() != responses


def test_packing_does_not_matter(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    together = generate(policy)
    monkeypatch.setattr(native, "prompts_per_wave", lambda *_: 2)
    monkeypatch.setattr(native, "COMPACT_BELOW", 1.1)  # compact at once
    monkeypatch.setattr(native, "GROWTH", 3)  # and grow often
    apart = generate(policy)
    assert apart.split() == together.split()
    torch.testing.assert_close(apart.logp, together.logp, atol=5e-6, rtol=0)
    assert torch.equal(apart.is_truncated, together.is_truncated)


def test_greedy_is_what_transformers_generates(policy: Policy) -> None:
    rollout = generate(policy, replace(SAMPLING, is_greedy=True, responses=1))
    for prompt, response in zip(PROMPTS, rollout.split(), strict=True):
        expected = policy.model.generate(  # type: ignore[operator]
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
            do_sample=False,
            max_new_tokens=40,
        )
        assert response == expected[0, len(prompt) :].tolist()


def test_a_wave_fits_into_its_cache(policy: Policy) -> None:
    # 2 layers x 2 heads x 8 x 4 bytes x keys and values, 45 columns, 4 responses
    assert prompts_per_wave(policy, PROMPTS, SAMPLING) == native.CPU_CACHE_BYTES // (256 * 45 * 4)
    huge = replace(SAMPLING, max_new_tokens=10**9)
    assert prompts_per_wave(policy, PROMPTS, huge) == 1
