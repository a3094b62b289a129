"""GRPO: group relative policy optimisation, arXiv:2402.03300v3."""

from espo_core.algorithms import fields
from espo_core.algorithms.definition import Algorithm, Part
from espo_core.objectives.aggregation import sequence_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.regularizer import reference_kl
from espo_core.objectives.trust_region import clip
from espo_core.objectives.units import token_units


class GrpoConfig(Part):
    """Parameters of GRPO."""

    epsilon_low: fields.EpsilonLow = 0.2

    epsilon_high: fields.EpsilonHigh = 0.2

    dual_clip: fields.DualClip = None

    kl_coefficient: fields.KlCoefficient = 0.0

    advantage: fields.Advantage = "zscore"

    baseline: fields.Baseline = "group"


def build(config: GrpoConfig) -> Objective:
    """The objective of Eq. (3)."""
    return Objective(
        advantage_kind=config.advantage,
        credit=fields.credit_of(config.baseline, config.advantage),
        units=token_units,
        ratio=token_ratio,
        trust_region=clip(config.epsilon_low, config.epsilon_high, cap=config.dual_clip),
        aggregation=sequence_mean,
        regularizers=reference_kl(config.kl_coefficient),
    )


GRPO = Algorithm(
    name="grpo",
    title="Group Relative Policy Optimization",
    summary="Every token has its own ratio, clipped at fixed bounds, with an optional KL penalty.",
    paper="arXiv:2402.03300v3",
    fidelity="paper",
    config=GrpoConfig,
    build=build,
)
