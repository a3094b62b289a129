"""The catalogue of verifiers, and how a reward is built from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from espo_contracts.spec import RewardPart
from espo_core.errors import unknown_name
from espo_core.parameters import parse_parameters
from espo_core.verifiers import (
    choice,
    countdown,
    exact,
    grader,
    json_schema,
    length,
    markers,
    numeric,
    pattern,
    reasoning_gym,
    symbolic,
)
from espo_core.verifiers.base import Verifier, VerifierConfig, VerifierEntry
from espo_core.verifiers.scoring import WeightedVerifier

VERIFIERS: dict[str, VerifierEntry] = {
    module.ENTRY.name: module.ENTRY
    for module in (
        choice,
        countdown,
        exact,
        grader,
        json_schema,
        length,
        markers,
        numeric,
        pattern,
        reasoning_gym,
        symbolic,
    )
}


def verifier_config(name: str, parameters: Mapping[str, Any]) -> VerifierConfig:
    """Returns a verifier's checked parameters.

    Raises:
        ConfigError: An unknown name or parameter (with the nearest valid one), or a value out of bounds.
    """
    if name not in VERIFIERS:
        raise unknown_name(kind="verifier", name=name, valid=VERIFIERS)
    return parse_parameters(VERIFIERS[name].config, parameters, what=f"verifier {name!r}")


def build_verifier(name: str, parameters: Mapping[str, Any]) -> Verifier:
    """Returns a verifier by name.

    Raises:
        ConfigError: As `verifier_config`.
    """
    config = verifier_config(name, parameters)
    return VERIFIERS[name].build(config)


def build_reward(parts: Sequence[RewardPart]) -> tuple[WeightedVerifier, ...]:
    """Returns the verifiers of a job with their weights.

    Raises:
        ConfigError: As `verifier_config`.
    """
    return tuple(
        WeightedVerifier(
            name=part.verifier, weight=part.weight, verifier=build_verifier(part.verifier, part.parameters)
        )
        for part in parts
    )


def reference_columns(parts: Sequence[RewardPart]) -> frozenset[str]:
    """Returns the columns that a job's verifiers read, so that data without them fail at the start."""
    fields = ("reference", "numbers", "target", "schema_column")
    configs = [verifier_config(part.verifier, part.parameters) for part in parts]
    named = (getattr(config, field, None) for config in configs for field in fields)
    columns = frozenset(column for column in named if column is not None)
    return columns.union(*(getattr(config, "columns", ()) for config in configs))
