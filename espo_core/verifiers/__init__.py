"""Reward functions: each judges a completion against the data row it answers."""

from espo_core.verifiers.base import Row, Verdict, Verifier, VerifierConfig, VerifierEntry
from espo_core.verifiers.registry import (
    VERIFIERS,
    build_reward,
    build_verifier,
    reference_columns,
    verifier_config,
)
from espo_core.verifiers.scoring import Score, WeightedVerifier, score_all

__all__ = [
    "VERIFIERS",
    "Row",
    "Score",
    "Verdict",
    "Verifier",
    "VerifierConfig",
    "VerifierEntry",
    "WeightedVerifier",
    "build_reward",
    "build_verifier",
    "reference_columns",
    "score_all",
    "verifier_config",
]
