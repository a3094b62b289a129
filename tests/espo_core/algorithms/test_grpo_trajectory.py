"""GRPO with the trajectory baseline: GRPO before a batch was seen, GRPO with `baseline` after."""

import pytest

from espo_core.errors import ConfigError
from espo_core.objectives import get_objective
from tests.espo_core.algorithms.test_relations import assert_same
from tests.espo_core.objectives.rollouts import random_responses, token_batch

BOUNDS = {"epsilon_low": 0.02, "epsilon_high": 0.03}


def test_is_grpo_before_it_has_seen_a_batch() -> None:
    # The advantages of the batches are rounded to float32, those of the baseline are not.
    ours, theirs = get_objective("grpo_trajectory", **BOUNDS), get_objective("grpo", **BOUNDS)
    assert_same(ours, theirs, tolerance=1e-6)


def test_goes_on_as_grpo_with_the_baseline() -> None:
    seen = token_batch(random_responses(0, count=24))
    ours = get_objective("grpo_trajectory", **BOUNDS).observed(seen)
    assert_same(ours, get_objective("grpo", baseline="entropy_trajectory", **BOUNDS).observed(seen))


def test_is_as_wide_as_in_the_evidence() -> None:
    wide = {"epsilon_low": 0.1, "epsilon_high": 0.1}
    assert_same(get_objective("grpo_trajectory"), get_objective("grpo_trajectory", **wide))


def test_refuses_values_out_of_bounds() -> None:
    with pytest.raises(ConfigError, match="epsilon_low"):
        get_objective("grpo_trajectory", epsilon_low=0.0)
