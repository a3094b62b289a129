"""The countdown task: right answers, disjoint sets of numbers, the same rows every time."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from espo_core.errors import ConfigError
from espo_core.tasks import TASKS, TaskData, build_task
from espo_core.tasks.countdown import CountdownTaskConfig, number_sets
from espo_core.verifiers import build_verifier


def rows(**parameters: Any) -> TaskData:
    return build_task("countdown", {"train_rows": 1024, **parameters}).rows()


def sets_of(data: list[dict[str, Any]]) -> set[tuple[int, ...]]:
    return {tuple(sorted(row["numbers"])) for row in data}


@pytest.mark.parametrize("numbers", [3, 4])
def test_every_answer_is_right_and_every_prompt_says_the_problem(numbers: int) -> None:
    data = rows(numbers=numbers)
    judge = build_verifier("countdown", {})
    for row in data.train + data.held_out:
        assert judge(row["answer"], row).score == 1
        assert row["prompt"] == f"{' '.join(map(str, row['numbers']))}>{row['target']:02d}:"
        assert len(row["numbers"]) == numbers
    assert 850 < len(data.train) <= 1024  # doubles among the tries are dropped
    assert len(data.held_out) == 512


@pytest.mark.parametrize("numbers", [3, 4])
@pytest.mark.parametrize("seed", [0, 7])
def test_held_out_sets_never_occur_in_training_whatever_the_seed(numbers: int, seed: int) -> None:
    data = rows(numbers=numbers, seed=seed)
    other = rows(numbers=numbers, seed=seed + 1)
    assert not sets_of(data.held_out) & (sets_of(data.train) | sets_of(other.train))


@pytest.mark.parametrize("numbers", [3, 4])
def test_a_fifth_to_a_quarter_of_the_sets_is_held_out(numbers: int) -> None:
    config = CountdownTaskConfig(numbers=numbers)  # type: ignore[arg-type]
    held_out, train = (number_sets(config, is_held_out=side) for side in (True, False))
    assert 0.20 <= len(held_out) / (len(held_out) + len(train)) <= 0.25
    assert not set(held_out) & set(train)


def test_rows_depend_on_the_seed_alone() -> None:
    assert rows(seed=3) == rows(seed=3)
    assert rows(seed=3).train != rows(seed=4).train


def test_prompts_are_distinct() -> None:
    data = rows(numbers=3, train_rows=50_000)
    prompts = [row["prompt"] for row in data.train + data.held_out]
    assert len(set(prompts)) == len(prompts)


def test_first_row_is_pinned() -> None:
    """The committed base model was measured on these rows; another generator needs another model card."""
    assert rows().held_out[0] == PINNED


PINNED = {"prompt": "9 7 6 4>23:", "answer": "9*4=36,36-7=29,29-6=23", "numbers": [9, 7, 6, 4], "target": 23}


def test_operators_are_the_ones_asked_for() -> None:
    assert not any("*" in row["answer"] for row in rows(operators="+-").train)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'countdown'"):
        build_task("countdwn", {})
    with pytest.raises(ConfigError, match="did you mean numbers"):
        build_task("countdown", {"number": 3})
    with pytest.raises(ConfigError, match="numbers"):
        build_task("countdown", {"numbers": 5})


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_entry_is_documented(name: str) -> None:
    assert TASKS[name].name == name
    assert all(
        field["description"] for field in TASKS[name].config.model_json_schema()["properties"].values()
    )


@pytest.mark.parametrize(("numbers", "share"), [(3, 0.3), (4, 0.225)])
def test_two_thousand_prompts_can_be_held_out(numbers: int, share: float) -> None:
    data = rows(numbers=numbers, held_out_rows=2_048, held_out_share=share)
    assert len(data.held_out) == 2_048
    assert not sets_of(data.held_out) & sets_of(data.train)


def test_a_larger_share_holds_out_the_sets_of_a_smaller_one_too() -> None:
    """A model warmed up beside the larger share has seen nothing that the smaller one holds out."""
    smaller, larger = (
        set(number_sets(CountdownTaskConfig(numbers=3, held_out_share=share), is_held_out=True))
        for share in (0.225, 0.3)
    )
    assert smaller < larger


def test_asking_for_more_held_out_rows_only_adds_some() -> None:
    few, many = (rows(numbers=3, held_out_rows=count).held_out for count in (512, 2_048))
    assert many[:512] == few


def test_the_default_rows_are_pinned() -> None:
    """The figures of the quickstart and of the committed base model were measured on all of them."""
    for numbers, digest in ((3, "07e0b0c7f0d1"), (4, "a3fba707ba2f")):
        data = build_task("countdown", {"numbers": numbers}).rows()
        text = json.dumps([data.train, data.held_out])
        assert hashlib.sha256(text.encode()).hexdigest().startswith(digest)
