"""GSPO: group sequence policy optimisation, arXiv:2507.18071v2."""

from typing import Annotated

from pydantic import Field

from espo_contracts.spec import Part
from espo_core.algorithms.definition import Algorithm
from espo_core.objectives.advantage import AdvantageKind
from espo_core.objectives.aggregation import sequence_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import geometric_mean
from espo_core.objectives.trust_region import HardClip
from espo_core.objectives.units import sequence_units


class GspoConfig(Part):
    """Parameters of GSPO."""

    epsilon_low: Annotated[float, Field(gt=0, le=1)] = 3e-4
    """How far a response's ratio may fall below 1."""

    epsilon_high: Annotated[float, Field(gt=0, le=100)] = 4e-4
    """How far a response's ratio may rise above 1."""

    advantage: AdvantageKind = "zscore"
    """How rewards become advantages within a prompt's group."""


def build(config: GspoConfig) -> Objective:
    """The objective of Eq. (5)."""
    return Objective(
        advantage_kind=config.advantage,
        units=sequence_units,
        ratio=geometric_mean,
        trust_region=HardClip(epsilon_low=config.epsilon_low, epsilon_high=config.epsilon_high),
        aggregation=sequence_mean,
    )


GSPO = Algorithm(
    name="gspo",
    title="Group Sequence Policy Optimization",
    summary="All tokens of a response share one length-normalised ratio, clipped at fixed bounds.",
    paper="arXiv:2507.18071v2",
    fidelity="paper",
    config=GspoConfig,
    build=build,
)
