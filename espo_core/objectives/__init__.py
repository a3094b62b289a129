"""Objectives over packed tokens; see algorithms for those with a name."""

from espo_core.batch import TokenBatch, Totals
from espo_core.objectives.advantage import AdvantageKind, advantages
from espo_core.objectives.lookup import get_objective
from espo_core.objectives.objective import Objective, ObjectiveOutput, combined_metrics

__all__ = [
    "AdvantageKind",
    "Objective",
    "ObjectiveOutput",
    "TokenBatch",
    "Totals",
    "advantages",
    "combined_metrics",
    "get_objective",
]
