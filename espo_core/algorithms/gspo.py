"""GSPO: group sequence policy optimisation, arXiv:2507.18071v2."""

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage, EpsilonHigh, EpsilonLow
from espo_core.objectives.aggregation import sequence_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import geometric_mean
from espo_core.objectives.trust_region import HardClip
from espo_core.objectives.units import sequence_units


class GspoConfig(Part):
    """Parameters of GSPO."""

    epsilon_low: EpsilonLow = 3e-4

    epsilon_high: EpsilonHigh = 4e-4

    advantage: Advantage = "zscore"


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
