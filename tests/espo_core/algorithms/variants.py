"""Every algorithm with parameters under which random batches reach all of its branches."""

from typing import Any

import pytest

from espo_core.objectives import Objective, get_objective

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("espo", {"alpha": 0.1}),
    ("espo", {"alpha": 0.1, "quantile_scope": "batch"}),
    ("espo", {"alpha": 0.1, "quantile_scope": "batch", "train_groups": "top", "carrier": "old"}),
    ("espo", {"alpha": 0.1, "quantiles": (0.1, 0.5, 0.9)}),
    ("grpo", {"epsilon_low": 0.02, "epsilon_high": 0.03, "kl_coefficient": 0.1}),
    ("grpo", {"epsilon_low": 0.02, "epsilon_high": 0.03, "dual_clip": 1.04}),
    ("grpo", {"baseline": "entropy_trajectory", "epsilon_low": 0.02, "epsilon_high": 0.03}),
    ("grpo_trajectory", {"epsilon_low": 0.02, "epsilon_high": 0.03}),
    ("dr_grpo", {"epsilon_low": 0.02, "epsilon_high": 0.03, "length": 14}),
    ("dapo", {"epsilon_low": 0.02, "epsilon_high": 0.03}),
    ("gspo", {"epsilon_low": 0.01, "epsilon_high": 0.0133}),
    ("gspo_token", {"epsilon_low": 0.01, "epsilon_high": 0.0133}),
    ("gmpo", {"log_bound": 0.03}),
    ("cispo", {"epsilon_low": 0.02, "epsilon_high": 0.03}),
    ("sapo", {}),
    ("bapo", {"low_start": 0.95, "low_end": 0.99, "high_start": 1.02, "high_end": 1.1, "high_step": 0.01}),
    ("sspo", {}),
    ("sspo", {"gate": "arctan", "kappa": 2.0}),
    ("etr", {"epsilon": 0.02}),
    ("aer", {"epsilon_low": 0.02, "epsilon_high": 0.03, "coefficient": 0.5}),
    ("arm", {"epsilon_low": 0.02, "epsilon_high": 0.03}),
]
every_variant = pytest.mark.parametrize(
    "objective",
    [pytest.param(get_objective(name, **given), id=f"{name}-{given}") for name, given in VARIANTS],
)


def objective_of(name: str) -> Objective:
    """The objective of the first variant of an algorithm."""
    return next(get_objective(name, **given) for algorithm, given in VARIANTS if algorithm == name)
