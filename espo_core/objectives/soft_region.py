"""Trust regions without an edge: the gradient fades or is weighted, and no token loses it altogether.

Each maps (batch, units, ratio) to `Surrogate`, whose removed masks are all false.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.diagnostics import Mean, mean_of
from espo_core.objectives.trust_region import Surrogate
from espo_core.objectives.units import Units


@dataclass(frozen=True, slots=True, kw_only=True)
class ClippedWeight:
    """sg[clip(r, 1−ε_low, 1+ε_high)] Â log π_θ: the clip bounds a weight, arXiv:2506.13585v1, Eq. (4).

    Reports `weight_capped_fraction`, the share of tokens whose weight is at a bound.
    """

    epsilon_low: float | None
    """None leaves small weights as they are."""
    epsilon_high: float

    def __call__(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Surrogate:
        low = None if self.epsilon_low is None else 1 - self.epsilon_low
        weight = ratio.detach().clamp(min=low, max=1 + self.epsilon_high)
        capped = (weight != ratio).to(weight.dtype)
        return _whole(
            weight * batch.token_advantage * batch.logp, {"weight_capped_fraction": mean_of(capped)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftGate:
    """(4/τ) σ(τ (r − 1)) Â: slope Â at r = 1 that fades on both sides, arXiv:2511.20347v1, Eq. (6).

    Reports `gate_mean`, the mean slope 4 σ (1 − σ) by which the gate multiplies the gradient.
    """

    temperature_positive: float
    """τ where Â > 0."""
    temperature_negative: float
    """τ elsewhere."""

    def __call__(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Surrogate:
        advantage = batch.token_advantage
        tau = torch.full_like(ratio, self.temperature_negative)
        tau = tau.masked_fill(advantage > 0, self.temperature_positive)
        gate = (tau * (ratio - 1)).sigmoid()
        slope = 4 * gate.detach() * (1 - gate.detach())
        return _whole(4 / tau * gate * advantage, {"gate_mean": mean_of(slope)})


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetMatching:
    """p* log π_θ + (1 − p*) log(1 − π_θ), p* ∝ π_old exp(Â/β): match a target, arXiv:2603.00963v1.

    p* = σ(logit π_old + Â/β) is the closed-form optimum's probability of the sampled token. The paper matches
    all of the vocabulary; we match the sampled token against all others, which needs no stored logits and has
    the same optimum where the others keep their proportions. At π_θ = π_old the gradient is
    (p* − π_old) / (1 − π_old) ∇log π_θ. Tokens without advantage are left alone.
    """

    beta: float
    """β in units of the advantage: small moves far."""

    def __call__(self, batch: TokenBatch, units: Units, ratio: Tensor) -> Surrogate:
        target = (_logit(batch.logp_old) + batch.token_advantage / self.beta).sigmoid()
        matched = target * batch.logp + (1 - target) * _log_of_rest(batch.logp)
        return _whole(torch.where(batch.token_advantage == 0, 0.0, matched), {})


def _log_of_rest(logp: Tensor) -> Tensor:
    """log(1 − p) of log p, finite also where p rounds to 1."""
    return torch.log(-torch.expm1(logp.clamp(max=-torch.finfo(logp.dtype).eps)))


def _logit(logp: Tensor) -> Tensor:
    return logp - _log_of_rest(logp)


def _whole(value: Tensor, diagnostics: dict[str, Mean]) -> Surrogate:
    never = torch.zeros_like(value, dtype=torch.bool)
    return Surrogate(value=value, removed_low=never, removed_high=never, diagnostics=diagnostics)
