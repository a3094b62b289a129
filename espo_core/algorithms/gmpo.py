"""GMPO: geometric-mean policy optimisation, arXiv:2507.20673v3."""

from typing import Annotated

from pydantic import Field

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage
from espo_core.objectives.aggregation import sequence_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import ClippedMean
from espo_core.objectives.trust_region import unbounded
from espo_core.objectives.units import sequence_units


class GmpoConfig(Part):
    """Parameters of GMPO."""

    log_bound: Annotated[float, Field(gt=0, le=100)] = 0.4
    """How far a token's log-ratio may go, on the side where it would earn more, before it is cut off."""

    advantage: Advantage = "zscore"


def build(config: GmpoConfig) -> Objective:
    """The objective as the authors' code has it: tokens are clipped before their geometric mean."""
    return Objective(
        advantage_kind=config.advantage,
        units=sequence_units,
        ratio=ClippedMean(log_bound=config.log_bound),
        trust_region=unbounded,
        aggregation=sequence_mean,
    )


GMPO = Algorithm(
    name="gmpo",
    title="Geometric-Mean Policy Optimization",
    summary="One ratio a response, the geometric mean of its tokens' clipped ratios.",
    paper="arXiv:2507.20673v3",
    fidelity="paper",
    config=GmpoConfig,
    build=build,
)
