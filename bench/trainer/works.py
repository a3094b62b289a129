"""The works that both trainers do: model, prompts, lengths, and the figure to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ModelKind = Literal["hidden-192", "hidden-128", "sums", "smollm2", "llama-700m"]

LEARNING_RATE = 1e-6
"""Small, so that the model of the last rollout still answers as that of the first."""
BETA1, BETA2, MAX_GRADIENT_NORM = 0.9, 0.95, 1.0
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A rollout and its updates."""

    name: str
    title: str
    model: ModelKind
    prompts: int
    """Prompts of a rollout."""
    group: int
    """Responses to each."""
    prompt_tokens: int
    """Exactly, or about where the model is a real one."""
    max_new_tokens: int
    is_forced: bool
    """Every response has `max_new_tokens`; else it ends where the model ends it."""
    mini_batches: int = 4
    micro_batch_tokens: int = 16_384
    """Of our passes; the peer's pass is a mini-batch."""
    compiled: bool = False
    """Our kernels are compiled; the peer's are where that makes it faster, which it does nowhere here."""
    device: Literal["cpu", "gpu"] = "cpu"
    """On a GPU products are in bfloat16, by autocast on both sides."""
    warm_up: int = 2
    """Rollouts before the first that counts."""
    rounds: int = 9
    """Rollouts that count."""
    reach: float
    """Times the peer's speed."""

    @property
    def responses(self) -> int:
        return self.prompts * self.group

    @property
    def min_new_tokens(self) -> int:
        return self.max_new_tokens if self.is_forced else 0


WORKS = (
    Work(
        name="a",
        title="1.8 M parameters, 16 x 8, 24 forced tokens",
        model="hidden-192",
        prompts=16,
        group=8,
        prompt_tokens=6,
        max_new_tokens=24,
        is_forced=True,
        reach=1.8,
    ),
    Work(
        name="a2",
        title="0.8 M parameters, 4 x 4, 24 forced tokens",
        model="hidden-128",
        prompts=4,
        group=4,
        prompt_tokens=6,
        max_new_tokens=24,
        is_forced=True,
        compiled=True,
        warm_up=3,
        rounds=25,
        reach=2.7,
    ),
    Work(
        name="a3",
        title="as (a), natural ends",
        model="sums",
        prompts=16,
        group=8,
        prompt_tokens=6,
        max_new_tokens=24,
        is_forced=False,
        rounds=15,
        reach=4.5,
    ),
    Work(
        name="a4",
        title="as (a), prompts of 256 tokens",
        model="hidden-192",
        prompts=16,
        group=8,
        prompt_tokens=256,
        max_new_tokens=24,
        is_forced=True,
        warm_up=1,
        rounds=5,
        reach=6.0,
    ),
    Work(
        name="a4n",
        title="as (a3), prompts of 256 tokens",
        model="sums",
        prompts=16,
        group=8,
        prompt_tokens=256,
        max_new_tokens=24,
        is_forced=False,
        warm_up=1,
        rounds=7,
        reach=9.0,
    ),
    Work(
        name="b",
        title="SmolLM2-135M, 4 x 8, 64 forced tokens",
        model="smollm2",
        prompts=4,
        group=8,
        prompt_tokens=16,
        max_new_tokens=64,
        is_forced=True,
        micro_batch_tokens=300,  # two passes a group: memory is compared too
        warm_up=1,
        rounds=3,
        reach=2.2,
    ),
)
SAMPLING_REACH = {"a": 1.6, "a2": 3.0}
"""Works whose sampling alone is measured too, and the figures to reach."""


def work_named(name: str) -> Work:
    """The work of this name."""
    return next(work for work in WORKS if work.name == name)
