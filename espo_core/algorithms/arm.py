"""ARM: advantages re-weighted by generative confidence, arXiv:2602.05281v2, a reconstruction.

The formula is from secondary notes. There c(q) is read from the prompt's own tokens, which a batch of
responses does not hold: the mean confidence of the prompt's responses stands in, and the weight is ours.
"""

from typing import Annotated

from pydantic import Field

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage, EpsilonHigh, EpsilonLow
from espo_core.objectives.aggregation import token_mean
from espo_core.objectives.credit import ConfidenceReweighting
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.trust_region import HardClip
from espo_core.objectives.units import token_units


class ArmConfig(Part):
    """Parameters of ARM."""

    epsilon_low: EpsilonLow = 0.2

    epsilon_high: EpsilonHigh = 0.28

    weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """How much a response's advantage rises where it is less confident than its group."""

    least_probable: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of a response's tokens, the least probable, that its confidence is read from."""

    advantage: Advantage = "zscore"


def build(config: ArmConfig) -> Objective:
    """DAPO's objective on Ã_i = Â_i + a (c(q) − c(y_i))."""
    return Objective(
        advantage_kind=config.advantage,
        units=token_units,
        ratio=token_ratio,
        trust_region=HardClip(epsilon_low=config.epsilon_low, epsilon_high=config.epsilon_high),
        aggregation=token_mean,
        credit=ConfidenceReweighting(weight=config.weight, least_probable=config.least_probable),
    )


ARM = Algorithm(
    name="arm",
    title="Advantage Re-weighting Mechanism",
    summary="DAPO with advantages moved from confident responses to unsure ones.",
    paper="arXiv:2602.05281v2",
    fidelity="reconstruction",
    config=ArmConfig,
    build=build,
)
