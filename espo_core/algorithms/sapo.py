"""SAPO: soft adaptive policy optimisation, arXiv:2511.20347v1."""

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage, Temperature
from espo_core.objectives.aggregation import sequence_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.soft_region import SoftGate
from espo_core.objectives.units import token_units


class SapoConfig(Part):
    """Parameters of SAPO."""

    temperature_positive: Temperature = 1.0
    """Sharpness τ of the gate where the advantage is positive."""

    temperature_negative: Temperature = 1.05
    """Sharpness τ of the gate elsewhere: bad tokens fade a little faster."""

    advantage: Advantage = "zscore"


def build(config: SapoConfig) -> Objective:
    """The objective of Eq. (5) and (6)."""
    return Objective(
        advantage_kind=config.advantage,
        units=token_units,
        ratio=token_ratio,
        trust_region=SoftGate(
            temperature_positive=config.temperature_positive,
            temperature_negative=config.temperature_negative,
        ),
        aggregation=sequence_mean,
    )


SAPO = Algorithm(
    name="sapo",
    title="Soft Adaptive Policy Optimization",
    summary="GRPO whose clip is a smooth gate that fades with the ratio's distance from 1.",
    paper="arXiv:2511.20347v1",
    fidelity="paper",
    config=SapoConfig,
    build=build,
)
