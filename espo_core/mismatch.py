"""Where the sampler is not quite the old policy: how far it is, and the weight that makes up for it.

A sampler in other precision, or another program altogether, draws tokens from π_sampler, while the objective
means π_old as the trainer computes it. With π_old computed again by the trainer, a token's surrogate counts

    c_t = min(π_old(y_t | …) / π_sampler(y_t | …), cap), without gradient,

which is truncated importance sampling by token (Ionides 2008; for this purpose Yao et al. 2025, "Your
Efficient RL Framework Secretly Brings You Off-Policy RL Training"). TRL 1.16 calls it
`vllm_importance_sampling_mode="token_truncate"` and verl 0.9 `rollout_is="token"`. Penalties are not
weighted, as in both.

Legend: T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from espo_core.batch import TokenBatch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mismatch:
    """Log-probabilities of the same tokens by the sampler and by the trainer's old policy, [T] each."""

    sampler: Tensor
    policy: Tensor

    @property
    def log_ratio(self) -> Tensor:
        """[T] log π_old − log π_sampler."""
        return (self.policy - self.sampler).detach()

    def weight(self, cap: float) -> Tensor:
        """[T] c."""
        return self.log_ratio.exp().clamp_max(cap)

    @staticmethod
    def joined(parts: Sequence[Mismatch]) -> Mismatch:
        """That of several batches, or of none."""
        if not parts:
            return Mismatch(sampler=torch.zeros(0), policy=torch.zeros(0))
        return Mismatch(
            sampler=torch.cat([part.sampler for part in parts]),
            policy=torch.cat([part.policy for part in parts]),
        )

    def metrics(self) -> dict[str, float]:
        """The largest difference, and the k3 estimate of KL(π_sampler‖π_old), mean r − 1 − log r.

        Both are 0 where there is no token.
        """
        log_ratio = self.log_ratio
        if not len(log_ratio):
            return {"policy/sampler_gap": 0.0, "policy/sampler_kl": 0.0}
        estimate = (log_ratio.double().expm1() - log_ratio).mean()
        return {"policy/sampler_gap": float(log_ratio.abs().max()), "policy/sampler_kl": float(estimate)}

    def weight_metrics(self, cap: float) -> dict[str, float]:
        """Mean of the weights, and the share of them that the cap cut."""
        is_cut = self.log_ratio.exp() > cap
        return {
            "policy/importance_mean": float(self.weight(cap).mean()),
            "policy/importance_truncated_fraction": float(is_cut.float().mean()),
        }


def known(batch: TokenBatch, *, logp: Tensor, entropy: Tensor) -> TokenBatch:
    """The batch with the entropies of the old policy, for a sampler that does not tell them; its own
    log-probabilities stay those of the old policy.

    `logp` and `entropy` [T] are the trainer's, computed before the first update.
    """
    return replace(batch, entropy_old=entropy.detach(), logp=logp.detach())


def corrected(batch: TokenBatch, *, logp: Tensor, entropy: Tensor, cap: float) -> TokenBatch:
    """The batch with the trainer's old policy in place of the sampler's, and the weights that this takes.

    `logp` and `entropy` [T] are the trainer's, computed before the first update; `batch.logp_old` is the
    sampler's still.
    """
    weight = Mismatch(sampler=batch.logp_old, policy=logp).weight(cap)
    return replace(known(batch, logp=logp, entropy=entropy), logp_old=logp.detach(), importance=weight)


def has_entropies(batch: TokenBatch) -> bool:
    """Whether the sampler told the entropies of the old policy; one that cannot leaves NaN."""
    return not bool(torch.isnan(batch.entropy_old).any())
