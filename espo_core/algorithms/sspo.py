"""SSPO: soft sequence policy optimisation, arXiv:2602.19327v3, a reconstruction.

No equation could be read. The first version's abstract speaks of sigmoid gates under a geometric mean, later
ones of an arctangent of the log-ratio: `gate` has both.
"""

from typing import Annotated, Literal

from pydantic import Field

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage, Temperature
from espo_core.objectives.aggregation import sequence_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import ArctanGate, GatedMean, GatePart, SigmoidGate
from espo_core.objectives.trust_region import unbounded
from espo_core.objectives.units import sequence_units


class SspoConfig(Part):
    """Parameters of SSPO."""

    gate: Literal["sigmoid", "arctan"] = "sigmoid"
    """Shape of the gate on each token's ratio, before the mean over its response."""

    temperature_positive: Temperature = 1.0
    """Sharpness τ of the sigmoid gate where the advantage is positive."""

    temperature_negative: Temperature = 1.05
    """Sharpness τ of the sigmoid gate elsewhere."""

    kappa: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Sharpness κ of the arctan gate."""

    advantage: Advantage = "zscore"


def _sigmoid(config: SspoConfig) -> GatePart:
    return SigmoidGate(
        temperature_positive=config.temperature_positive, temperature_negative=config.temperature_negative
    )


def _arctan(config: SspoConfig) -> GatePart:
    return ArctanGate(kappa=config.kappa)


GATES = {"sigmoid": _sigmoid, "arctan": _arctan}


def build(config: SspoConfig) -> Objective:
    """The mean of W_i Â_i over responses, W_i = exp(mean of the gated log-ratios)."""
    return Objective(
        advantage_kind=config.advantage,
        units=sequence_units,
        ratio=GatedMean(gate=GATES[config.gate](config)),
        trust_region=unbounded,
        aggregation=sequence_mean,
    )


SSPO = Algorithm(
    name="sspo",
    title="Soft Sequence Policy Optimization",
    summary="One ratio a response, the geometric mean of softly gated token ratios.",
    paper="arXiv:2602.19327v3",
    fidelity="reconstruction",
    config=SspoConfig,
    build=build,
)
