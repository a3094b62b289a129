"""Our advantages against those of the peers, from the same rewards.

Legend: R responses, δ what is added to a standard deviation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from bench.peers.trl_loss import trl_advantages
from bench.peers.verl_loss import verl_advantages
from espo_core.objectives import AdvantageKind, advantages
from espo_core.objectives.advantage import STD_DELTA

GROUP = 8
TRL_DELTA = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """Rewards of prompts with `GROUP` responses each."""

    reward: Tensor
    """[R]"""
    verified: Tensor
    """[R] bool"""
    group: Tensor
    """[R] int64"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageCase:
    """One of our advantages and the peer's that should equal it."""

    peer: str
    kind: AdvantageKind
    theirs: Callable[[Rewards], Tensor]
    delta: float = STD_DELTA
    """The peer's δ, where it has one."""
    float64_tolerance: float = 1e-12
    """How exact the peer is when it is given float64."""
    knows_unverified: bool = False
    """Whether the peer can leave a response out of the statistics."""
    note: str = ""

    def difference(self, rewards: Rewards) -> float:
        """The largest difference of any response's advantage, relative to the largest advantage."""
        wanted = self.theirs(rewards)
        return float((self.ours(rewards) - wanted).abs().max() / wanted.abs().max())

    def ours(self, rewards: Rewards) -> Tensor:
        """[R] our advantages with the peer's δ in place of ours."""
        scaled = advantages(rewards.reward, rewards.verified, rewards.group, kind=self.kind)
        if self.delta == STD_DELTA:
            return scaled
        deviation = advantages(rewards.reward, rewards.verified, rewards.group, kind="centred")
        divisor = torch.where(deviation == 0, 1.0, deviation / scaled)
        return deviation / (divisor - STD_DELTA + self.delta)


def random_rewards(*, seed: int, dtype: torch.dtype, unverified: bool) -> Rewards:
    """Rewards of 12 prompts, no two of which are equal, a few of them unverified where asked for."""
    source = torch.Generator().manual_seed(seed)
    count = 12 * GROUP
    known = torch.rand(count, generator=source) > (0.1 if unverified else 0.0)
    return Rewards(
        reward=torch.rand(count, generator=source).to(dtype),
        verified=known,
        group=torch.arange(count) // GROUP,
    )


def _trl(rewards: Rewards, *, scale: str) -> Tensor:
    return trl_advantages(rewards.reward, rewards.verified, group=GROUP, scale=scale)


def _verl(rewards: Rewards, *, estimator: str, **settings: bool) -> Tensor:
    return verl_advantages(rewards.reward, rewards.group, estimator=estimator, **settings)


_trl_case = partial(AdvantageCase, peer="trl", knows_unverified=True)
_trl_scaled = partial(
    _trl_case,
    delta=TRL_DELTA,
    float64_tolerance=1e-7,
    note="its δ is 1e-4 (ours 1e-6); n/(n-1) is rounded to float32",
)
_verl_case = partial(AdvantageCase, peer="verl")

ADVANTAGE_CASES = (
    _trl_scaled(kind="zscore", theirs=partial(_trl, scale="group")),
    _trl_scaled(kind="batch_std", theirs=partial(_trl, scale="batch")),
    _trl_case(kind="centred", theirs=partial(_trl, scale="none")),
    _verl_case(
        kind="zscore",
        theirs=partial(_verl, estimator="grpo"),
        note="a lone response gets its reward (ours 0); equal rewards get rounding noise / δ (ours 0)",
    ),
    _verl_case(kind="centred", theirs=partial(_verl, estimator="grpo", norm_adv_by_std_in_grpo=False)),
    _verl_case(kind="leave_one_out", theirs=partial(_verl, estimator="rloo")),
)
