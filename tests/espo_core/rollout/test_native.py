from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from espo_core.evaluate import decoded
from espo_core.policy import Policy, with_fused_layers
from espo_core.rollout import cache, native
from espo_core.rollout.engine import Rollout, Sampling
from espo_core.rollout.native import NativeEngine, cache_shape, rows_that_fit

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
        logits = policy.model(input_ids=torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
        every = (logits / temperature).log_softmax(-1)
        parts.append((every.gather(1, torch.tensor(response)[:, None])[:, 0], -(every.exp() * every).sum(-1)))
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


@pytest.mark.parametrize("is_fused", [True, False])
@pytest.mark.parametrize("share_from", [1, 64])  # prompts kept once, and copied
@pytest.mark.parametrize("rows", [1, 9, 1000])  # a prompt at a time, two at a time, all at once
def test_packing_does_not_matter(
    policy: Policy, is_fused: bool, share_from: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = generate(policy)
    monkeypatch.setattr(native, "rows_that_fit", lambda *_: rows)
    monkeypatch.setattr(native, "SHARE_FROM", share_from)
    monkeypatch.setattr(native, "COMPACT_BELOW", 1.1)  # compact at once
    monkeypatch.setattr(cache, "GROWTH", 3)  # and grow often
    apart = generate(with_fused_layers(policy) if is_fused else policy)
    assert apart.split() == together.split()
    torch.testing.assert_close(apart.logp, together.logp, atol=5e-6, rtol=0)
    torch.testing.assert_close(apart.entropy, together.entropy, atol=5e-6, rtol=0)
    assert torch.equal(apart.is_truncated, together.is_truncated)


def test_a_part_of_the_prompts_gets_the_responses_that_it_gets_among_all(policy: Policy) -> None:
    part = NativeEngine(policy=policy).generate(PROMPTS[2:], SAMPLING, seed=1, first=8)
    assert part.split() == generate(policy).split()[8:]


def test_a_history_is_one_row_for_all_its_responses(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    states = Policy.states

    def counted(self: Policy, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        rows.append(len(ids))
        return states(self, ids, *rest)

    monkeypatch.setattr(Policy, "states", counted)
    monkeypatch.setattr(native, "COMPACT_BELOW", 1.1)
    responses = generate(policy, replace(SAMPLING, temperature=0.3)).split()
    nodes = len({token for prompt in PROMPTS for token in beginnings(prompt)})
    assert rows[0] == nodes
    for step, computed in enumerate(rows[1:], start=1):
        going_on = [
            (PROMPTS[index // 4], *response[:step])
            for index, response in enumerate(responses)
            if len(response) > step
        ]
        assert computed == len(set(going_on)), step
    assert sum(rows[1:]) < sum(len(response) - 1 for response in responses)


def beginnings(tokens: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [tokens[:end] for end in range(1, len(tokens) + 1)]


def test_a_response_has_its_least_length(policy: Policy) -> None:
    free, forced = generate(policy), generate(policy, replace(SAMPLING, min_new_tokens=10))
    assert int(free.lengths.min()) < 10 <= int(forced.lengths.min())
    logp, entropy = fresh_statistics(policy, forced, 0.9)  # of the whole distribution, the end included
    torch.testing.assert_close(forced.logp, logp, atol=5e-6, rtol=0)
    torch.testing.assert_close(forced.entropy, entropy, atol=5e-6, rtol=0)
    whole = generate(policy, replace(SAMPLING, min_new_tokens=40))
    assert whole.lengths.tolist() == [40] * 20
    assert whole.is_truncated.sum() >= 19  # the fortieth may be the end


def test_a_stop_string_ends_a_response_which_keeps_it(policy: Policy) -> None:
    free = generate(policy)
    texts = decoded(policy, free.split())
    sampling = replace(SAMPLING, stop=(texts[0][5:7], texts[1][3]))
    stopped = generate(policy, sampling)
    ended = decoded(policy, stopped.split())
    assert any(text.endswith(sampling.stop[0]) for text in ended)
    for index, (text, short) in enumerate(zip(texts, ended, strict=True)):
        ends = [text.find(stop) + len(stop) for stop in sampling.stop if stop in text]
        assert short == (text[: min(ends)] if ends else text)
        assert stopped.is_truncated[index] == (not ends and bool(free.is_truncated[index]))
    late = generate(policy, replace(sampling, min_new_tokens=30))
    assert int(late.lengths.min()) >= 30


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


def test_rows_fit_into_their_cache(policy: Policy) -> None:
    # 2 layers x 2 heads x 8 x 4 bytes x keys and values, 45 columns
    assert rows_that_fit(cache_shape(policy), 45) == native.CPU_CACHE_BYTES // (256 * 45)
