"""The methods that are compared, the settings that each may be tuned to, and the ablations of ESPO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.evidence.trial import Method

OTHER_RATES = (4e-4, 8e-4)
"""Tried at each algorithm's best width, which is found at Method's default."""

WIDTHS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "espo": tuple({"alpha": alpha} for alpha in (0.05, 0.1, 0.5)),
    "grpo": tuple({"epsilon_low": e, "epsilon_high": e} for e in (0.1, 0.2, 0.4)),
    "dapo": tuple({"epsilon_low": 0.2, "epsilon_high": e} for e in (0.2, 0.28, 0.5)),
    "gspo": tuple({"epsilon_low": e, "epsilon_high": e * 4 / 3} for e in (0.003, 0.01, 0.03)),
    "cispo": tuple({"epsilon_high": e} for e in (0.2, 1.0, 4.0)),
    "gmpo": tuple({"log_bound": bound} for bound in (0.1, 0.2, 0.4)),
    "sapo": tuple({"temperature_positive": t, "temperature_negative": 1.05 * t} for t in (0.5, 1.0, 3.0)),
}
"""Three settings of the parameter that says how far an algorithm lets the policy move; its paper's value is
among them, except for espo and gspo, whose published values have rows of their own in the final table."""

STRESSED = ("espo", "grpo", "gspo", "dapo")
"""Compared at many updates per rollout batch."""
LEAD = ("espo tuned", "grpo", "gspo tuned", "dapo", "grpo + baseline", "espo + baseline")
"""Rows compared beyond the three-number task."""
CONFIRMED = ("grpo + baseline", "grpo", "gspo tuned", "dapo")
"""Rows of the last question, the first against the others."""

PUBLISHED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "espo 0.02": ("espo", {"alpha": 0.02}),
    "gspo published": ("gspo", {"epsilon_low": 3e-4, "epsilon_high": 4e-4}),
}
"""The papers' own widths; the learning rate is the one that the algorithm was tuned to."""


def tuned_methods(tuned: Mapping[str, Method]) -> dict[str, Method]:
    """The rows of the final table, from what the tuning chose for each algorithm."""
    return {
        "espo tuned": tuned["espo"],
        "grpo": tuned["grpo"],
        "gspo tuned": tuned["gspo"],
        "dapo": tuned["dapo"],
        **{row: replace(tuned[name], parameters=parameters) for row, (name, parameters) in PUBLISHED.items()},
        "grpo + baseline": with_parameters(tuned["grpo"], baseline="entropy_trajectory"),
        "espo + baseline": with_parameters(tuned["espo"], baseline="entropy_trajectory"),
        "cispo": tuned["cispo"],
        "gmpo": tuned["gmpo"],
        "sapo": tuned["sapo"],
    }


def ablations(espo: Method, *, entropy_share: float) -> dict[str, Method]:
    """Variants of tuned ESPO, each different in what its name says.

    Args:
        espo: the tuned method.
        entropy_share: mean of entropy / log V over tokens, measured in the tuning: the fixed clip is as wide
            as the adaptive one is on average.
    """
    width = espo.parameters["alpha"] * entropy_share
    changes: dict[str, dict[str, Any]] = {
        "no grouping": {"quantiles": []},
        "fixed clip": {"alpha": 1e-9, "epsilon_min": float(f"{width:.2g}")},
        "carrier old": {"carrier": "old"},
        "top group only": {"train_groups": "top"},
        "four groups": {"quantiles": [0.25, 0.5, 0.75]},
        "quantiles over the batch": {"quantile_scope": "batch"},
        **{f"alpha {alpha:g}": {"alpha": alpha} for alpha in (0.01, 0.05, 0.1, 0.2, 0.5)},
        "top 10 %": {"quantiles": [0.9]},
        "top 40 %": {"quantiles": [0.6]},
        "top 10 % only": {"quantiles": [0.9], "train_groups": "top"},
        "top 40 % only": {"quantiles": [0.6], "train_groups": "top"},
    }
    variants = {name: with_parameters(espo, **change) for name, change in changes.items()}
    return {name: variant for name, variant in variants.items() if variant != espo}


def with_parameters(method: Method, **changes: Any) -> Method:
    """The method with some parameters changed."""
    return replace(method, parameters={**method.parameters, **changes})
