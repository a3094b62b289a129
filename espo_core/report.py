"""What a step tells: its metrics and a few of its responses.

Legend: R responses, G responses a prompt.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from espo_contracts.events import Sample
from espo_core.answers import Answers
from espo_core.intervals import Estimate
from espo_core.rewards import Scored
from espo_core.samplers.dynamic import Gathered

_STATUS = Path("/proc/self/status")
MAX_TEXT = 65_536  # of the contract's Text


class Stopwatch:
    """Seconds of the parts of a step."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Ends a part."""
        now = time.perf_counter()
        self.seconds[f"time/{name}_seconds"] = now - self._last
        self.seconds["time/step_seconds"] = now - self._began
        self._last = now


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turn(Answers):
    """The answers that a step trains on."""

    step: int
    advantage: Tensor
    """[R] float32, on the CPU."""
    weight: Tensor | None = None
    """[R] float32, on the CPU: how many times a response counts, where some were pruned."""

    def metrics(self) -> dict[str, float]:
        """Share of the responses that were pruned."""
        if self.weight is None:
            return {}
        return {"rollout/pruned_fraction": (self.weight == 0).float().mean().item()}


def gathered_metrics(gathered: Gathered) -> dict[str, float]:
    """Level and spread of the rewards, length and entropy of the responses: of all that were sampled, so that
    passing over some does not flatter the policy."""
    sampled, rollout = gathered.sampled, gathered.sampled.rollout
    rewards = sampled.scored.rewards()
    return _verified_metrics(sampled.scored) | {
        "reward/mean": rewards.mean().item(),
        "reward/std": rewards.std(correction=0).item(),
        "reward/zero_variance_fraction": 1 - sampled.has_contrast().float().mean().item(),
        "rollout/rounds": float(gathered.rounds),
        "rollout/prompts": float(len(gathered.kept.prompts)),
        "rollout/prompts_sampled": float(len(sampled.prompts)),
        "rollout/tokens": float(len(gathered.kept.rollout.tokens)),
        "rollout/tokens_sampled": float(len(rollout.tokens)),
        "rollout/length_mean": rollout.lengths.float().mean().item(),
        "rollout/truncated_fraction": rollout.is_truncated.float().mean().item(),
        "policy/entropy": rollout.entropy.mean().item(),
    }


def _verified_metrics(scored: Scored) -> dict[str, float]:
    """Share of the responses with a verdict: of all verifiers, and of each."""
    each = scored.verified_fractions().items()
    return {
        "reward/verified_fraction": scored.verified().float().mean().item(),
        **{f"reward/verified_fraction/{name.replace('#', '_')}": share for name, share in each},
    }


def resource_metrics(gathered: Gathered, watch: Stopwatch, device: torch.device) -> dict[str, float]:
    """Times, speed and memory: the only metrics that differ between two equal runs."""
    speed = len(gathered.sampled.rollout.tokens) / watch.seconds["time/rollout_seconds"]
    memory = {"rollout/tokens_per_second": speed, "memory/peak_bytes": peak_memory(device)}
    return watch.seconds | memory


def held_out_metrics(accuracies: Mapping[str, Estimate]) -> dict[str, float]:
    """Held-out accuracies with their 95 % intervals, by name; `greedy` is one of them."""
    ends = {f"held_out/{name}": one.mean for name, one in accuracies.items()}
    ends |= {f"held_out/{name}_low": one.low for name, one in accuracies.items()}
    ends |= {f"held_out/{name}_high": one.high for name, one in accuracies.items()}
    return ends | {"held_out/prompts": float(accuracies["greedy"].n)}


def checkpoint_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """What of a step's metrics its checkpoint is judged by."""
    return {
        name: value
        for name, value in metrics.items()
        if name == "reward/mean" or name.startswith("held_out/")
    }


def sample_events(turn: Turn, *, prompts: int) -> Iterator[Sample]:
    """Yields the responses to the first prompts of a step."""
    is_truncated, advantage = turn.rollout.is_truncated.tolist(), turn.advantage.tolist()
    for index, score in enumerate(turn.scored.scores[: prompts * turn.group]):
        yield Sample(
            step=turn.step,
            group=index // turn.group,
            prompt=turn.prompts[index // turn.group].text[:MAX_TEXT],
            completion=turn.scored.completions[index][:MAX_TEXT],
            reward=score.reward,
            reward_parts=score.parts,
            is_verified=score.verified,
            is_truncated=is_truncated[index],
            advantage=advantage[index],
        )


def peak_memory(device: torch.device) -> float:
    """Bytes: of the GPU where there is one, else the most that this process was resident."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return float(_most_resident())


def resident_memory() -> int:
    """Bytes that this process has resident now; the most that it had where that cannot be told."""
    return _status("VmRSS") or _most_resident()


def _most_resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # getrusage also counts what the process was a copy of before its program began.
    return _status("VmHWM") or (peak if sys.platform == "darwin" else peak << 10)


def _status(name: str) -> int:
    """Bytes of a line of Linux's account of this process; 0 on other systems."""
    if not _STATUS.is_file():
        return 0
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) << 10
