"""GSPO-token: GSPO whose tokens may have advantages of their own, arXiv:2507.18071v2."""

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage, EpsilonHigh, EpsilonLow
from espo_core.objectives.aggregation import sequence_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import carried_by_current
from espo_core.objectives.trust_region import HardClip
from espo_core.objectives.units import sequence_units


class GspoTokenConfig(Part):
    """Parameters of GSPO-token."""

    epsilon_low: EpsilonLow = 3e-4

    epsilon_high: EpsilonHigh = 4e-4

    advantage: Advantage = "zscore"


def build(config: GspoTokenConfig) -> Objective:
    """The objective of Eq. (13); with one advantage per response its gradient is GSPO's."""
    return Objective(
        advantage_kind=config.advantage,
        units=sequence_units,
        ratio=carried_by_current,
        trust_region=HardClip(epsilon_low=config.epsilon_low, epsilon_high=config.epsilon_high),
        aggregation=sequence_mean,
    )


GSPO_TOKEN = Algorithm(
    name="gspo_token",
    title="Group Sequence Policy Optimization, token variant",
    summary="GSPO whose gradient is carried by each token.",
    paper="arXiv:2507.18071v2",
    fidelity="paper",
    config=GspoTokenConfig,
    build=build,
)
