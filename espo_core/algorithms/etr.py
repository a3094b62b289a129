"""ETR: elastic trust regions, arXiv:2601.03723v1, a reconstruction.

Only the paper's abstract could be read: clip bounds that grow with the advantage's size (micro) and with the
variance of the group's outcomes (macro). The form and constants are ours.
"""

from typing import Annotated

from pydantic import Field

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage, EpsilonLow
from espo_core.objectives.adaptive_clip import ElasticClip
from espo_core.objectives.aggregation import sequence_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.units import token_units


class EtrConfig(Part):
    """Parameters of ETR."""

    epsilon: EpsilonLow = 0.2
    """Half-width ε_0 of the trust region before it is stretched."""

    lambda_micro: Annotated[float, Field(ge=0, le=100)] = 0.5
    """How much a large advantage widens it: by up to this share."""

    lambda_macro: Annotated[float, Field(ge=0, le=100)] = 0.5
    """How much a group of both outcomes widens it: by up to this share, at as many right as wrong."""

    advantage: Advantage = "zscore"


def build(config: EtrConfig) -> Objective:
    """GRPO with ε_i = ε_0 (1 + λ_micro tanh|Â_i|) (1 + λ_macro 4 p̄ (1 − p̄))."""
    return Objective(
        advantage_kind=config.advantage,
        units=token_units,
        ratio=token_ratio,
        trust_region=ElasticClip(
            epsilon=config.epsilon, micro=config.lambda_micro, macro=config.lambda_macro
        ),
        aggregation=sequence_mean,
    )


ETR = Algorithm(
    name="etr",
    title="Elastic Trust Regions",
    summary="GRPO whose bounds widen for decisive responses and undecided prompts.",
    paper="arXiv:2601.03723v1",
    fidelity="reconstruction",
    config=EtrConfig,
    build=build,
)
