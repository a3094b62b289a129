from __future__ import annotations

import pytest

from espo_core.intervals import bootstrap, estimate, wilson


def test_wilson_by_hand() -> None:
    # R: prop.test(15, 50, correct = FALSE)$conf.int
    one = wilson(successes=15, n=50)
    assert (one.mean, one.n) == (0.3, 50)
    assert one.low == pytest.approx(0.1910, abs=1e-4)
    assert one.high == pytest.approx(0.4375, abs=1e-4)


@pytest.mark.parametrize("successes", [0, 10])
def test_wilson_at_the_ends(successes: int) -> None:
    one = wilson(successes=successes, n=10)
    assert 0 <= one.low <= one.mean <= one.high <= 1
    assert one.high - one.low > 0.2


def test_one_right_or_wrong_response_a_prompt_is_wilson() -> None:
    assert estimate([[1.0]] * 15 + [[0.0]] * 35) == wilson(successes=15, n=50)


def test_prompts_that_are_wholly_right_or_wrong_are_wilson() -> None:
    assert estimate([[0.0] * 4] * 10) == wilson(successes=0, n=10)


def test_scores_in_between_and_several_responses_are_bootstrapped_over_prompts() -> None:
    assert estimate([[0.5], [1.0]]) == bootstrap([0.5, 1.0])
    assert estimate([[1.0, 0.0], [1.0, 1.0]]) == bootstrap([0.5, 1.0])


def test_the_bootstrap_is_as_wide_as_the_normal_interval() -> None:
    means = [index % 4 / 3 for index in range(400)]
    one = bootstrap(means)
    spread = (sum((mean - 0.5) ** 2 for mean in means) / 400) ** 0.5
    assert one.mean == pytest.approx(0.5)
    assert one.high - one.low == pytest.approx(2 * 1.96 * spread / 20, rel=0.1)
    assert bootstrap(means) == one
