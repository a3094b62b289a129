"""CISPO: clipped importance-sampling weights, arXiv:2506.13585v1 (MiniMax-M1)."""

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage, EpsilonHigh, EpsilonLow
from espo_core.objectives.aggregation import token_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.soft_region import ClippedWeight
from espo_core.objectives.units import token_units


class CispoConfig(Part):
    """Parameters of CISPO."""

    epsilon_low: EpsilonLow | None = None
    """How far a weight may fall below 1; unset, as in the paper, for no lower bound."""

    epsilon_high: EpsilonHigh = 4.0
    """How far a weight may rise above 1. The paper tunes it and does not give its value."""

    advantage: Advantage = "zscore"


def build(config: CispoConfig) -> Objective:
    """The objective of Eq. (4) and (5): the ratio is a bounded weight, and every token keeps a gradient."""
    return Objective(
        advantage_kind=config.advantage,
        units=token_units,
        ratio=token_ratio,
        trust_region=ClippedWeight(epsilon_low=config.epsilon_low, epsilon_high=config.epsilon_high),
        aggregation=token_mean,
    )


CISPO = Algorithm(
    name="cispo",
    title="Clipped Importance-Sampling Policy Optimization",
    summary="REINFORCE with bounded importance weights: no token loses its gradient.",
    paper="arXiv:2506.13585v1",
    fidelity="paper",
    config=CispoConfig,
    build=build,
)
