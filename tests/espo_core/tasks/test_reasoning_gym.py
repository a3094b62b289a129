"""Tasks by the name of a reasoning-gym dataset: their rows, their split, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from espo_core.errors import ConfigError
from espo_core.tasks import TaskData, build_task
from espo_core.verifiers import build_verifier

FEW: dict[str, Any] = {"train_rows": 64, "held_out_rows": 32}


def rows(dataset: str, **parameters: Any) -> TaskData:
    return build_task("reasoning_gym", {"dataset": dataset, **FEW, **parameters}).rows()


def prompts(data: list[dict[str, Any]]) -> set[str]:
    return {row["prompt"] for row in data}


@pytest.mark.parametrize("dataset", ["chain_sum", "number_sorting", "maze", "acre", "bitwise_arithmetic"])
def test_rows_are_distinct_on_one_side_only_and_right(dataset: str) -> None:
    data = rows(dataset)
    assert (len(prompts(data.train)), len(prompts(data.held_out))) == (64, 32)
    assert not prompts(data.train) & prompts(data.held_out)
    judge = build_verifier("reasoning_gym", {})
    assert {judge(row["answer"], row).score for row in data.train + data.held_out} == {1.0}


def test_rows_depend_on_the_seed_and_the_side_of_a_question_does_not() -> None:
    config = {"min_terms": 2, "max_terms": 2, "max_digits": 1}
    data = [rows("chain_sum", seed=seed, config=config, train_rows=200, held_out_rows=200) for seed in (0, 1)]
    assert rows("chain_sum", seed=0) == rows("chain_sum", seed=0)
    assert prompts(data[0].train) & prompts(data[1].train)
    assert not prompts(data[0].train) & prompts(data[1].held_out)
    assert not prompts(data[1].train) & prompts(data[0].held_out)


def test_seeds_next_to_each_other_share_no_problems() -> None:
    """A dataset's problem i under seed s is its problem i - 1 under seed s + 1."""
    config = {"min_terms": 6, "max_terms": 6, "min_digits": 4}
    first, second = (rows("chain_sum", seed=seed, config={**config, "max_digits": 4}) for seed in (0, 1))
    assert not prompts(first.train + first.held_out) & prompts(second.train + second.held_out)


def test_a_dataset_with_few_questions_gives_what_it_has() -> None:
    data = rows("chain_sum", config={"min_terms": 2, "max_terms": 2, "max_digits": 1}, train_rows=5_000)
    # Two terms from 0 to 9 or 1 to 9, added or subtracted.
    assert 16 < len(data.train) <= 200
    assert len(data.held_out) <= 32


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dataset": "chain_sm"}, "did you mean 'chain_sum'"),
        ({"dataset": "chain_sum", "config": {"max_trms": 3}}, "no parameter 'max_trms'.*max_terms"),
        ({"dataset": "chain_sum", "config": {"max_terms": 0}}, "max_terms must be"),
        ({"dataset": "chain_sum", "config": {"max_terms": "many"}}, "chain_sum: "),
        ({"dataset": "chain_sum", "config": {"seed": 3}}, "no parameter 'seed'"),
        ({"dataset": "spell_backward", "config": {"data_file": "/etc/hostname"}}, "no parameter 'data_file'"),
        ({"dataset": "composite"}, "at least one dataset"),
    ],
)
def test_what_a_dataset_does_not_take_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_task("reasoning_gym", {**FEW, **parameters}).rows()


def test_a_config_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espo_core.tasks.reasoning_gym.BATCH_SECONDS", 0.2)
    with pytest.raises(ConfigError, match="too much time or memory") as caught:
        rows("countdown", config={"min_numbers": 9, "max_numbers": 9})
    assert "train_rows" in caught.value.hint
