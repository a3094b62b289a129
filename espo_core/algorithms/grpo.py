"""GRPO: group relative policy optimisation, arXiv:2402.03300v3."""

from typing import Annotated

from pydantic import Field

from espo_contracts.spec import Part
from espo_core.algorithms.definition import Algorithm
from espo_core.objectives.advantage import AdvantageKind
from espo_core.objectives.aggregation import sequence_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.regularizer import ReferenceKL
from espo_core.objectives.trust_region import HardClip
from espo_core.objectives.units import token_units


class GrpoConfig(Part):
    """Parameters of GRPO."""

    epsilon_low: Annotated[float, Field(gt=0, le=1)] = 0.2
    """How far a token's ratio may fall below 1."""

    epsilon_high: Annotated[float, Field(gt=0, le=100)] = 0.2
    """How far a token's ratio may rise above 1."""

    kl_coefficient: Annotated[float, Field(ge=0, le=10)] = 0.0
    """β of the penalty that holds the policy near the base model; 0 leaves the penalty and its cost out."""

    advantage: AdvantageKind = "zscore"
    """How rewards become advantages within a prompt's group."""


def build(config: GrpoConfig) -> Objective:
    """The objective of Eq. (3)."""
    return Objective(
        advantage_kind=config.advantage,
        units=token_units,
        ratio=token_ratio,
        trust_region=HardClip(epsilon_low=config.epsilon_low, epsilon_high=config.epsilon_high),
        aggregation=sequence_mean,
        regularizers=(ReferenceKL(coefficient=config.kl_coefficient),) if config.kl_coefficient else (),
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
