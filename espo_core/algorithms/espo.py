"""ESPO: entropy importance sampling policy optimisation, arXiv:2512.00499v2 (not the other ESPOs).

GSPO with two parts exchanged: the tokens that share a ratio are those of similar predictive entropy, and each
such group's trust region is as wide as its entropy. What the paper leaves open is a parameter.
"""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from espo_contracts.spec import Part
from espo_core.algorithms.definition import Algorithm
from espo_core.objectives.advantage import AdvantageKind
from espo_core.objectives.aggregation import mean_over_groups, mean_over_top_group
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import carried_by_current, carried_by_old
from espo_core.objectives.trust_region import EntropyAdaptiveClip
from espo_core.objectives.units import EntropyGroups, rank_in_batch, rank_in_response

CARRIERS = {"current": carried_by_current, "old": carried_by_old}
RANKINGS = {"response": rank_in_response, "batch": rank_in_batch}
AGGREGATIONS = {"all": mean_over_groups, "top": mean_over_top_group}


def _increasing(quantiles: tuple[float, ...]) -> tuple[float, ...]:
    if any(later <= earlier for earlier, later in pairwise(quantiles)):
        raise ValueError("quantiles must increase strictly")
    return quantiles


Quantile = Annotated[float, Field(gt=0, lt=1)]
Quantiles = Annotated[
    tuple[Quantile, ...],
    Field(max_length=15, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_increasing),
]


class EspoConfig(Part):
    """Parameters of ESPO."""

    alpha: Annotated[float, Field(gt=0, le=10)] = 0.02
    """Width of the trust region: a group may move by ε = α · (its mean entropy / log V). 0.02 is the paper's
    best for large vocabularies; small models and vocabularies do better with 0.1."""

    quantiles: Quantiles = (0.8,)
    """Boundaries of the entropy groups, in increasing order: [0.8] parts the top 20 % of the tokens from the
    rest, an empty list makes one group of each response."""

    quantile_scope: Literal["response", "batch"] = "response"
    """Whether a token's entropy is ranked within its response or within the whole rollout batch."""

    train_groups: Literal["all", "top"] = "all"
    """Whether every group gets gradient or only the one of highest entropy."""

    carrier: Literal["current", "old"] = "current"
    """Denominator of the token ratio, Eq. (9): the current policy as in GSPO-token, or the old one as
    printed."""

    epsilon_min: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Floor under ε; raise it above rounding noise where the sampler computes in another precision."""

    advantage: AdvantageKind = "zscore"
    """How rewards become advantages within a prompt's group."""


def build(config: EspoConfig) -> Objective:
    """The objective of Eq. (5)."""
    return Objective(
        advantage_kind=config.advantage,
        units=EntropyGroups(quantiles=config.quantiles, ranking=RANKINGS[config.quantile_scope]),
        ratio=CARRIERS[config.carrier],
        trust_region=EntropyAdaptiveClip(alpha=config.alpha, epsilon_min=config.epsilon_min),
        aggregation=AGGREGATIONS[config.train_groups],
        needs_equal_numerics=config.epsilon_min == 0,
    )


ESPO = Algorithm(
    name="espo",
    title="Entropy Importance Sampling Policy Optimization",
    summary="Tokens of similar entropy share one ratio, clipped in proportion to that entropy.",
    paper="arXiv:2512.00499v2",
    fidelity="paper",
    config=EspoConfig,
    build=build,
)
