"""What is asked of vLLM, and what its answers become."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from espo_core.errors import EspoError
from espo_core.rollout.engine import Rollout, Sampling
from espo_core.rollout.vllm.wording import Answer, Arguments, heard, questions, rollout_of

SAMPLING = Sampling(
    responses=2,
    max_new_tokens=4,
    temperature=0.7,
    top_p=0.9,
    top_k=20,
    min_new_tokens=1,
    stop=("\n\n", "END"),
)
ANSWERS = [
    [
        Answer(tokens=[5, 1], logp=[-0.5, -0.25], ending="stop"),
        Answer(tokens=[7, 8, 9, 6], logp=[-1.0, -2.0, -3.0, -4.0], ending="length"),
    ],
    [Answer(tokens=[1], logp=[-0.125], ending="stop"), Answer(tokens=[3], logp=[0.0], ending="stop")],
]


def arguments(sampling: Sampling, seed: int = 1) -> Arguments:
    (only,) = questions([(3, 4)], sampling, ends=[1, 2], seed=seed)
    return only.arguments


def test_asks_for_what_the_job_says_and_nothing_of_the_model_s_own() -> None:
    asked = arguments(SAMPLING)
    assert isinstance(asked.pop("seed"), int)
    assert asked == {
        "n": 2,
        "max_tokens": 4,
        "min_tokens": 1,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "stop": ["\n\n", "END"],
        "stop_token_ids": [1, 2],
        "ignore_eos": True,
        "logprobs": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


def test_greedy_is_temperature_zero() -> None:
    assert arguments(replace(SAMPLING, is_greedy=True, responses=1))["temperature"] == 0


def test_each_prompt_has_a_seed_that_does_not_depend_on_the_others() -> None:
    def seeds(count: int, *, seed: int = 1, first: int = 0) -> list[Any]:
        asked = questions([(3,)] * count, SAMPLING, ends=[1], seed=seed, first=first)
        return [one.arguments["seed"] for one in asked]

    four = seeds(4)
    assert len(set(four)) == 4
    assert seeds(2) == four[:2]
    assert seeds(2, first=4) == four[2:]
    assert not set(seeds(4, seed=2)) & set(four)
    # vLLM counts a seed up over the responses, within 63 bits.
    assert all(0 <= one < 2**62 for one in four)


def test_hears_a_request_output_in_the_order_of_its_seeds() -> None:
    def output(index: int, tokens: tuple[int, ...], ending: str) -> SimpleNamespace:
        told = [{token: SimpleNamespace(logprob=-float(token)), 99: None} for token in tokens]
        return SimpleNamespace(index=index, token_ids=tokens, logprobs=told, finish_reason=ending)

    assert heard([output(1, (4,), "length"), output(0, (2, 3), "stop")]) == [
        Answer(tokens=(2, 3), logp=[-2.0, -3.0], ending="stop"),
        Answer(tokens=(4,), logp=[-4.0], ending="length"),
    ]


def packed(answers: list[list[Answer]]) -> Rollout:
    return rollout_of(answers, SAMPLING, vocab_size=10, device=torch.device("cpu"))


def test_packs_the_answers() -> None:
    rollout = packed(ANSWERS)
    assert rollout.split() == [[5, 1], [7, 8, 9, 6], [1], [3]]
    assert rollout.logp.tolist() == [-0.5, -0.25, -1, -2, -3, -4, -0.125, 0]
    assert (rollout.logp.dtype, rollout.tokens.dtype) == (torch.float32, torch.int64)
    assert rollout.is_truncated.tolist() == [False, True, False, False]
    assert rollout.entropy.shape == (8,)
    assert rollout.entropy.isnan().all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ending": "abort"}, "another reason"),
        ({"tokens": [10]}, "does not have"),
        ({"tokens": [-1]}, "does not have"),
        ({"tokens": [], "logp": []}, "0 tokens"),
        ({"logp": [-1.0, -1.0]}, "1 tokens with 2 log-probabilities"),
        ({"tokens": [3] * 5, "logp": [-1.0] * 5}, "5 tokens"),
    ],
)
def test_refuses_what_was_not_asked_for(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(EspoError, match=message):
        packed([ANSWERS[0], [ANSWERS[1][0], replace(ANSWERS[1][1], **wrong)]])


def test_refuses_another_number_of_responses() -> None:
    with pytest.raises(EspoError, match="1 responses to a prompt instead of 2"):
        packed([ANSWERS[0][:1]])
