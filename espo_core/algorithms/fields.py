"""Parameters that several algorithms share, each with its bounds and description."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from espo_core.objectives.advantage import AdvantageKind
from espo_core.objectives.credit import CreditPart
from espo_core.objectives.trajectory import new_trajectory_baseline


def _increasing(quantiles: tuple[float, ...]) -> tuple[float, ...]:
    if any(later <= earlier for earlier, later in pairwise(quantiles)):
        raise ValueError("quantiles must increase strictly")
    return quantiles


EpsilonLow = Annotated[float, Field(gt=0, le=1, description="How far a ratio may fall below 1.")]
EpsilonHigh = Annotated[float, Field(gt=0, le=100, description="How far a ratio may rise above 1.")]
DualClip = Annotated[
    float | None,
    Field(gt=1, le=1000, description="Cap on a bad token's ratio (arXiv:1912.09729); unset for none."),
]
Advantage = Annotated[
    AdvantageKind, Field(description="How rewards become advantages within a prompt's group.")
]
Baseline = Annotated[
    Literal["group", "entropy_trajectory"],
    Field(
        description="What a reward is compared with: its group's mean, or that plus what the entropies and "
        "log-probabilities so far foretell of it, learnt from earlier steps (ours, no paper's)."
    ),
]
KlCoefficient = Annotated[
    float,
    Field(
        ge=0,
        le=10,
        description="β of the penalty that holds the policy near the base model; 0 leaves it out.",
    ),
]
Temperature = Annotated[float, Field(gt=0, le=1000, description="Sharpness τ of the gate.")]
Quantiles = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...],
    Field(max_length=15, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_increasing),
]


def credit_of(baseline: Literal["group", "entropy_trajectory"], kind: AdvantageKind) -> CreditPart | None:
    """The credit part of a baseline."""
    return new_trajectory_baseline(kind=kind) if baseline == "entropy_trajectory" else None
