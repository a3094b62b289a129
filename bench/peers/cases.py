"""Which of our objectives is compared with which of the peers', and where they differ, why.

Every pair gets the same log-probabilities, mask and advantages. A `note` says what it takes to make a peer
compute the paper's objective, or which of our parts reproduce what it computes instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from bench.peers.padded import Padded
from bench.peers.trl_loss import TrlLoss
from bench.peers.verl_loss import VerlLoss
from espo_core.objectives import Objective, get_objective
from espo_core.objectives.aggregation import TokenSum, token_mean
from espo_core.objectives.ratio import carried_by_current, geometric_mean
from espo_core.objectives.trust_region import HardClip
from espo_core.objectives.units import sequence_units

LENGTH = 100
"""L of Dr.GRPO in these cases: longer than every response."""

GSPO_CLIP = {"clip_ratio_low": 3e-4, "clip_ratio_high": 4e-4}
"""GSPO's published bounds by verl's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One of our objectives and the peer's loss that should equal it."""

    peer: Literal["trl", "verl"]
    algorithm: str
    """Our name, or what our parts are put together to."""
    objective: Callable[[], Objective]
    loss: Callable[[Padded], Tensor]
    has_token_advantages: bool = False
    """Whether the tokens of a response have advantages of their own in this case."""
    float64_tolerance: float = 1e-12
    """How exact the peer is when it is given float64."""
    note: str = ""

    @property
    def name(self) -> str:
        """Unique among the cases."""
        return f"{self.peer}: {self.algorithm}"


def _luspo() -> Objective:
    return Objective(
        units=sequence_units,
        ratio=geometric_mean,
        trust_region=HardClip(epsilon_low=0.2, epsilon_high=0.2),
        aggregation=TokenSum(length=1),
    )


def _gspo_under_token_mean() -> Objective:
    return Objective(
        units=sequence_units,
        ratio=carried_by_current,
        trust_region=HardClip(epsilon_low=3e-4, epsilon_high=4e-4),
        aggregation=token_mean,
    )


_trl = partial(Case, peer="trl")
_verl = partial(Case, peer="verl")
_trl_grpo = partial(TrlLoss, loss_type="grpo")
_trl_gspo = _trl_grpo(importance_sampling_level="sequence", epsilon=3e-4, epsilon_high=4e-4)

TRL_CASES = (
    _trl(algorithm="grpo", objective=partial(get_objective, "grpo"), loss=_trl_grpo()),
    _trl(
        algorithm="grpo, dual clip",
        objective=partial(get_objective, "grpo", dual_clip=2.0),
        loss=_trl_grpo(delta=2.0),
        note="TRL's name is `delta`; it bounds min(r, δ), the same where Â < 0 and δ > 1 + ε",
    ),
    _trl(
        algorithm="grpo, k3 KL",
        objective=partial(get_objective, "grpo", kl_coefficient=0.1),
        loss=_trl_grpo(beta=0.1),
    ),
    _trl(
        algorithm="dr_grpo",
        objective=partial(get_objective, "dr_grpo", length=LENGTH),
        loss=TrlLoss(loss_type="dr_grpo", max_completion_length=LENGTH),
    ),
    _trl(
        algorithm="dapo",
        objective=partial(get_objective, "dapo"),
        loss=TrlLoss(loss_type="dapo", epsilon_high=0.28),
        note="`bnpo` divides by the micro-batch's tokens instead: equal where it is the mini-batch",
    ),
    _trl(
        algorithm="gspo",
        objective=partial(get_objective, "gspo"),
        loss=_trl_gspo,
        note="TRL has no gspo: its grpo at importance_sampling_level='sequence'",
    ),
    _trl(
        algorithm="gspo_token",
        objective=partial(get_objective, "gspo_token"),
        loss=_trl_gspo,
        note="equal to gspo while a response has one advantage",
    ),
    _trl(
        algorithm="gspo, advantage per token",
        objective=partial(get_objective, "gspo"),
        loss=_trl_gspo,
        has_token_advantages=True,
        note="every token's gradient goes through the whole response: not gspo_token",
    ),
    _trl(
        algorithm="cispo",
        objective=partial(get_objective, "cispo"),
        loss=TrlLoss(loss_type="cispo", epsilon_high=5.0),
        note="TRL's epsilon_high is the cap itself, 1 + ε_high",
    ),
    _trl(
        algorithm="sapo",
        objective=partial(get_objective, "sapo"),
        loss=TrlLoss(loss_type="sapo"),
        float64_tolerance=1e-7,
        note="TRL rounds τ to float32",
    ),
    _trl(
        algorithm="(luspo from parts)",
        objective=_luspo,
        loss=TrlLoss(loss_type="luspo", importance_sampling_level="sequence"),
        note="gspo weighted by length: sequence units under a token sum with L = 1",
    ),
)

VERL_CASES = (
    _verl(
        algorithm="grpo",
        objective=partial(get_objective, "grpo"),
        loss=VerlLoss(),
        note="with loss_agg_mode seq-mean-token-mean; verl's default is token-mean",
    ),
    _verl(
        algorithm="grpo, dual clip",
        objective=partial(get_objective, "grpo", dual_clip=2.0),
        loss=VerlLoss(settings={"clip_ratio_c": 2.0}),
        note="always on in verl, at 3.0",
    ),
    _verl(
        algorithm="grpo, k3 KL",
        objective=partial(get_objective, "grpo", kl_coefficient=0.1),
        loss=VerlLoss(kl_loss_coef=0.1),
        note="low_var_kl is k3 with log-ratios held within ±20 and k3 within ±10",
    ),
    _verl(
        algorithm="dr_grpo",
        objective=partial(get_objective, "dr_grpo", length=LENGTH),
        loss=VerlLoss(loss_agg_mode="seq-mean-token-sum-norm", loss_scale_factor=LENGTH),
        note="without loss_scale_factor it divides by the padded length of the batch",
    ),
    _verl(
        algorithm="dapo",
        objective=partial(get_objective, "dapo"),
        loss=VerlLoss(loss_agg_mode="token-mean", settings={"clip_ratio_high": 0.28}),
    ),
    _verl(
        algorithm="gspo_token",
        objective=partial(get_objective, "gspo_token"),
        loss=VerlLoss(mode="gspo", settings=GSPO_CLIP),
    ),
    _verl(
        algorithm="gspo",
        objective=partial(get_objective, "gspo"),
        loss=VerlLoss(mode="gspo", settings=GSPO_CLIP),
        note="verl's gspo is gspo_token: equal while a response has one advantage",
    ),
    _verl(
        algorithm="gspo_token, advantage per token",
        objective=partial(get_objective, "gspo_token"),
        loss=VerlLoss(mode="gspo", settings=GSPO_CLIP),
        has_token_advantages=True,
        note="here it differs from gspo",
    ),
    _verl(
        algorithm="(gspo as verl's actor calls it, from parts)",
        objective=_gspo_under_token_mean,
        loss=VerlLoss(mode="gspo", loss_agg_mode="token-mean", settings=GSPO_CLIP),
        note="its default token-mean weights a response by its length: not GSPO",
    ),
    _verl(
        algorithm="gmpo",
        objective=partial(get_objective, "gmpo", log_bound=0.4),
        loss=VerlLoss(mode="geo_mean", settings={"clip_ratio_low": 0.4, "clip_ratio_high": 0.4}),
        note="the bounds are those of ℓ; loss_agg_mode is ignored",
    ),
    _verl(
        algorithm="cispo",
        objective=partial(get_objective, "cispo", epsilon_low=0.2, epsilon_high=0.28),
        loss=VerlLoss(mode="cispo", loss_agg_mode="token-mean", settings={"clip_ratio_high": 0.28}),
        note="verl always bounds the weight from below too",
    ),
    _verl(
        algorithm="sapo",
        objective=partial(get_objective, "sapo"),
        loss=VerlLoss(mode="sapo", loss_agg_mode="token-mean"),
        note="loss_agg_mode is ignored: always seq-mean-token-mean, as in the paper",
    ),
)

CASES = TRL_CASES + VERL_CASES
