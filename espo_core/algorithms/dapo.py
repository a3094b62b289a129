"""DAPO: decoupled clip and dynamic sampling policy optimisation, arXiv:2503.14476v2."""

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import Advantage, DualClip, EpsilonHigh, EpsilonLow
from espo_core.objectives.aggregation import token_mean
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.trust_region import clip
from espo_core.objectives.units import token_units


class DapoConfig(Part):
    """Parameters of DAPO."""

    epsilon_low: EpsilonLow = 0.2

    epsilon_high: EpsilonHigh = 0.28

    dual_clip: DualClip = None

    advantage: Advantage = "zscore"


def build(config: DapoConfig) -> Objective:
    """The objective of Eq. (8); the overlong penalty, Eq. (13), is `rollout.overlong` of a job."""
    return Objective(
        advantage_kind=config.advantage,
        units=token_units,
        ratio=token_ratio,
        trust_region=clip(config.epsilon_low, config.epsilon_high, cap=config.dual_clip),
        aggregation=token_mean,
    )


DAPO = Algorithm(
    name="dapo",
    title="Decoupled Clip and Dynamic Sampling Policy Optimization",
    summary="GRPO with a wider upper bound, averaged over tokens, on prompts of both outcomes.",
    paper="arXiv:2503.14476v2",
    fidelity="paper",
    dynamic_sampling=True,
    config=DapoConfig,
    build=build,
)
