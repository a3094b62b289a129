"""ESPO: entropy importance sampling policy optimisation, arXiv:2512.00499v2 (not the other ESPOs).

GSPO with two parts exchanged: the tokens that share a ratio are those of similar predictive entropy, and each
such group's trust region is as wide as its entropy. What the paper leaves open is a parameter.
"""

from typing import Annotated, Literal

from pydantic import Field

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage, Baseline, Quantiles, credit_of
from espo_core.objectives.adaptive_clip import EntropyAdaptiveClip
from espo_core.objectives.aggregation import GROUP_MEANS
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import CARRIERS
from espo_core.objectives.units import RANKINGS, EntropyGroups


class EspoConfig(Part):
    """Parameters of ESPO."""

    alpha: Annotated[float, Field(gt=0, le=10)] = 0.02
    """Width of the trust region: a group may move by ε = α · (its mean entropy / log V). 0.02 is the paper's
    best for large vocabularies; small models and vocabularies do better with 0.2."""

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
    """Floor under ε; raise it above rounding noise where the sampler computes in another precision. With a
    tiny alpha it is every group's width: the ablation of the adaptive clip."""

    advantage: Advantage = "zscore"

    baseline: Baseline = "group"


def build(config: EspoConfig) -> Objective:
    """The objective of Eq. (5)."""
    return Objective(
        advantage_kind=config.advantage,
        credit=credit_of(config.baseline, config.advantage),
        units=EntropyGroups(quantiles=config.quantiles, ranking=RANKINGS[config.quantile_scope]),
        ratio=CARRIERS[config.carrier],
        trust_region=EntropyAdaptiveClip(alpha=config.alpha, epsilon_min=config.epsilon_min),
        aggregation=GROUP_MEANS[config.train_groups],
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
