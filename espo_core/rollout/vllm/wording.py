"""What we ask of vLLM and what it answers, in its words.

The names of the arguments are those of `SamplingParams` and of the body of `/v1/completions` alike. A seed is
given to each prompt, and vLLM counts it up over the responses of the prompt, so what is drawn does not depend
on the other prompts; the rounding of its matrix products may.

Legend: T tokens, R responses, G responses a prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import JsonValue

from espo_core.errors import EspoError
from espo_core.randomness import derived_seed
from espo_core.rollout.engine import Rollout, Sampling, Tokens

Arguments = dict[str, JsonValue]

# What a model's own generation settings may change in a server that is asked for less than all of it.
PLAIN: Arguments = {
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt and how it is to be answered."""

    prompt: Tokens
    arguments: Arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response."""

    tokens: Sequence[int]
    logp: Sequence[float]
    """Of each token, by the distribution that it was drawn from."""
    ending: str
    """vLLM's `finish_reason`."""


def questions(
    prompts: Sequence[Tokens], sampling: Sampling, *, ends: Sequence[int], seed: int, first: int = 0
) -> list[Question]:
    """The prompts, each with a seed of its own.

    Args:
        ends: tokens that end a response.
        first: number of the first response, where these are a part of all that the seed is for.
    """
    places = range(first, first + len(prompts) * sampling.responses, sampling.responses)
    arguments: Arguments = {
        "n": sampling.responses,
        "max_tokens": sampling.max_new_tokens,
        "min_tokens": sampling.min_new_tokens,
        "temperature": 0.0 if sampling.is_greedy else sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "stop": list(sampling.stop),
        # The end tokens are ours to say: a tokenizer's may be fewer.
        "stop_token_ids": list(ends),
        "ignore_eos": True,
        # 0 beside the token that was drawn.
        "logprobs": 0,
    }
    return [
        # A bit less, since vLLM adds up to G - 1 and takes 63.
        Question(prompt=prompt, arguments=arguments | PLAIN | {"seed": derived_seed(seed, place) >> 1})
        for place, prompt in zip(places, prompts, strict=True)
    ]


def heard(outputs: Iterable[Any]) -> list[Answer]:
    """The answers in the outputs of a `vllm.RequestOutput`."""
    return [
        Answer(
            tokens=one.token_ids,
            logp=[place[token].logprob for token, place in zip(one.token_ids, one.logprobs, strict=True)],
            ending=one.finish_reason,
        )
        for one in sorted(outputs, key=lambda one: one.index)
    ]


def rollout_of(
    answers: Sequence[Sequence[Answer]], sampling: Sampling, *, vocab_size: int, device: torch.device
) -> Rollout:
    """The responses to each prompt, packed; their entropies are unknown.

    Raises:
        EspoError: they are not what was asked for.
    """
    for one in answers:
        _check(one, sampling, vocab_size)
    every = [one for group in answers for one in group]
    tokens = [token for one in every for token in one.tokens]
    logp = [value for one in every for value in one.logp]
    return Rollout(
        tokens=torch.tensor(tokens, device=device),
        logp=torch.tensor(logp, dtype=torch.float32, device=device),
        entropy=torch.full((len(tokens),), torch.nan, device=device),
        lengths=torch.tensor([len(one.tokens) for one in every], device=device),
        is_truncated=torch.tensor([one.ending == "length" for one in every], device=device),
    )


def _check(group: Sequence[Answer], sampling: Sampling, vocab_size: int) -> None:
    """Raise EspoError unless these are the responses to a prompt."""
    if len(group) != sampling.responses:
        raise EspoError(f"vLLM gave {len(group)} responses to a prompt instead of {sampling.responses}")
    for one in group:
        if one.ending not in ("stop", "length"):
            raise EspoError(f"vLLM ended a response for another reason than its length: {one.ending[:64]!r}")
        if not 1 <= len(one.tokens) == len(one.logp) <= sampling.max_new_tokens:
            raise EspoError(f"vLLM gave {len(one.tokens)} tokens with {len(one.logp)} log-probabilities")
        if not all(0 <= token < vocab_size for token in one.tokens):
            raise EspoError("vLLM gave a token that the model does not have; does it serve the same model?")
