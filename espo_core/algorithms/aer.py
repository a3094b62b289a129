"""AER: adaptive entropy regularisation, arXiv:2510.10959v3, a reconstruction.

The paper's three components are known (difficulty-aware coefficient, target anchored at the start, feedback),
not its formulas: λ(q) and the constants are ours.
"""

from typing import Annotated

from pydantic import Field

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage, EpsilonHigh, EpsilonLow
from espo_core.objectives.aggregation import sequence_mean
from espo_core.objectives.entropy_bonus import AdaptiveEntropyBonus
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.trust_region import HardClip
from espo_core.objectives.units import token_units

CONTROLLER = {"coefficient", "rate", "target_fraction", "difficulty"}


class AerConfig(Part):
    """Parameters of AER."""

    epsilon_low: EpsilonLow = 0.2

    epsilon_high: EpsilonHigh = 0.2

    coefficient: Annotated[float, Field(ge=0, le=10)] = 0.01
    """Strength α of the entropy bonus at the first step."""

    rate: Annotated[float, Field(ge=0, le=10)] = 0.005
    """Step η of the controller: how much α moves, per nat, each rollout batch."""

    target_fraction: Annotated[float, Field(ge=0, le=10)] = 0.4
    """Entropy to hold, as a share of the first batch's."""

    difficulty: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Accuracy ρ from which a prompt gets no bonus."""

    advantage: Advantage = "zscore"


def build(config: AerConfig) -> Objective:
    """GRPO plus α_k (ρ − p̄)_+ H, whose α_k a controller sets."""
    return Objective(
        advantage_kind=config.advantage,
        units=token_units,
        ratio=token_ratio,
        trust_region=HardClip(epsilon_low=config.epsilon_low, epsilon_high=config.epsilon_high),
        aggregation=sequence_mean,
        regularizers=(AdaptiveEntropyBonus(**config.model_dump(include=CONTROLLER)),),
    )


AER = Algorithm(
    name="aer",
    title="Adaptive Entropy Regularization",
    summary="GRPO with an entropy bonus that follows the entropy left and the prompt's difficulty.",
    paper="arXiv:2510.10959v3",
    fidelity="reconstruction",
    config=AerConfig,
    build=build,
)
