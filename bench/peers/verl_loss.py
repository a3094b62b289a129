"""verl's own losses and advantages: the functions of verl.trainer.ppo.core_algos.

Legend: R responses, L tokens of the longest response.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from bench.peers.installed import load
from bench.peers.padded import Padded

MODULE = "verl.trainer.ppo.core_algos"
DUAL_CLIP_OFF = 1e6
"""verl's dual clip cannot be switched off; no ratio reaches this one."""

Aggregation = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerlLoss:
    """A policy loss of verl's registry, the way its actor calls it."""

    mode: Literal["vanilla", "gspo", "sapo", "geo_mean", "cispo"] = "vanilla"
    loss_agg_mode: Aggregation = "seq-mean-token-mean"
    settings: Mapping[str, float] = field(default_factory=dict)
    """Fields of verl's ActorConfig."""
    kl_loss_coef: float = 0.0
    loss_scale_factor: int | None = None

    def __call__(self, batch: Padded) -> Tensor:
        """[] the loss of the batch, with the penalty that the actor adds where it has a coefficient."""
        core = load(MODULE)
        loss, _ = core.get_policy_loss_fn(self.mode)(
            old_log_prob=batch.logp_old,
            log_prob=batch.logp,
            advantages=batch.advantage.reshape(len(batch.mask), -1) * batch.mask,
            response_mask=batch.mask,
            loss_agg_mode=self.loss_agg_mode,
            config=self._config(),
        )
        assert isinstance(loss, Tensor)
        if not self.kl_loss_coef:
            return loss
        kl = core.kl_penalty(batch.logp, batch.logp_ref, "low_var_kl")
        penalty: Tensor = core.agg_loss(kl, batch.mask, self.loss_agg_mode)
        return loss + self.kl_loss_coef * penalty

    def _config(self) -> object:
        settings = {"clip_ratio_c": DUAL_CLIP_OFF, **self.settings}
        scale = {"loss_scale_factor": self.loss_scale_factor} if self.loss_scale_factor else {}
        return load("verl.workers.config").ActorConfig(
            strategy="fsdp", rollout_n=1, use_dynamic_bsz=True, global_batch_info=scale, **settings
        )


def verl_advantages(reward: Tensor, group: Tensor, *, estimator: str, **settings: bool) -> Tensor:
    """[R] advantages by an estimator of verl's registry for responses of one token."""
    estimate = load(MODULE).get_adv_estimator_fn(estimator)
    # The function writes into its argument.
    rewards = reward.clone()[:, None]
    advantages, _ = estimate(rewards, torch.ones_like(rewards), group.numpy(), **settings)
    assert isinstance(advantages, Tensor)
    return advantages[:, 0]
