"""BAPO: balanced policy optimisation with adaptive clipping, arXiv:2510.18927v1.

The paper's text and its released code differ: the code raises c_low first, asks for a share of a half, steps
both bounds by 0.05 and adds a dual clip. The defaults are the paper's.
"""

from typing import Annotated, Literal

from pydantic import Field

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage
from espo_core.objectives.adaptive_clip import BalancedClip
from espo_core.objectives.aggregation import token_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.units import token_units


class BapoConfig(Part):
    """Parameters of BAPO."""

    low_start: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Lower bound of the ratio where the search begins."""

    low_end: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Lower bound where it ends."""

    low_step: Annotated[float, Field(ge=0.001, le=1)] = 0.02
    """Step of the lower bound."""

    high_start: Annotated[float, Field(ge=1, le=100)] = 1.2
    """Upper bound of the ratio where the search begins."""

    high_end: Annotated[float, Field(ge=1, le=100)] = 3.0
    """Upper bound where it ends."""

    high_step: Annotated[float, Field(ge=0.01, le=100)] = 0.05
    """Step of the upper bound."""

    positive_share: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Share ρ_0 of good tokens in the objective at which the search ends."""

    measure: Literal["value", "gradient"] = "value"
    """What a token weighs: its surrogate, or that only while it keeps its gradient. With `value` a higher
    lower bound can only lower the share."""

    order: Literal["high_first", "low_first"] = "high_first"
    """Which bound is moved first, to its end."""

    advantage: Advantage = "zscore"


def build(config: BapoConfig) -> Objective:
    """The objective of Eq. (8) with the bounds of Algorithm 1."""
    return Objective(
        advantage_kind=config.advantage,
        units=token_units,
        ratio=token_ratio,
        trust_region=BalancedClip(**config.model_dump(exclude={"advantage"})),
        aggregation=token_mean,
    )


BAPO = Algorithm(
    name="bapo",
    title="Balanced Policy Optimization with Adaptive Clipping",
    summary="GRPO whose bounds are searched, batch by batch, until good tokens weigh enough.",
    paper="arXiv:2510.18927v1",
    fidelity="paper",
    config=BapoConfig,
    build=build,
)
