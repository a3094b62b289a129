"""Dr. GRPO: GRPO done right, without its two biases, arXiv:2503.20783v2."""

from typing import Annotated

from pydantic import Field

from espo_core.algorithms.definition import Algorithm, Part
from espo_core.algorithms.fields import DualClip, EpsilonHigh, EpsilonLow, KlCoefficient
from espo_core.objectives.aggregation import TokenSum
from espo_core.objectives.objective import Objective
from espo_core.objectives.ratio import token_ratio
from espo_core.objectives.regularizer import reference_kl
from espo_core.objectives.trust_region import clip
from espo_core.objectives.units import token_units


class DrGrpoConfig(Part):
    """Parameters of Dr. GRPO."""

    epsilon_low: EpsilonLow = 0.2

    epsilon_high: EpsilonHigh = 0.2

    dual_clip: DualClip = None

    length: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """Constant L that every response's sum is divided by, such as rollout.max_new_tokens. It scales the
    gradient, which AdamW does not notice but the bound on the gradient's norm does."""

    kl_coefficient: KlCoefficient = 0.0


def build(config: DrGrpoConfig) -> Objective:
    """The objective of Section 3.2: no division by the standard deviation, none by the response's length."""
    return Objective(
        advantage_kind="centred",
        units=token_units,
        ratio=token_ratio,
        trust_region=clip(config.epsilon_low, config.epsilon_high, cap=config.dual_clip),
        aggregation=TokenSum(length=config.length),
        regularizers=reference_kl(config.kl_coefficient),
    )


DR_GRPO = Algorithm(
    name="dr_grpo",
    title="GRPO Done Right",
    summary="GRPO with rewards only centred and token sums over a constant length.",
    paper="arXiv:2503.20783v2",
    fidelity="paper",
    config=DrGrpoConfig,
    build=build,
)
