"""Answers to generated problems: extraction, the dataset's own scores, and what counts as no verdict."""

from __future__ import annotations

from typing import Any

import pytest

from espo_contracts.spec import RewardPart
from espo_core.tasks import build_task
from espo_core.verifiers import build_verifier, reference_columns
from espo_core.verifiers.reasoning_gym import MAX_ANSWER
from espo_core.verifiers.sandbox import SANDBOX


def problem(dataset: str, **config: Any) -> dict[str, Any]:
    parameters = {"dataset": dataset, "config": config, "train_rows": 16, "held_out_rows": 16}
    return build_task("reasoning_gym", parameters).rows().train[0]


def score(completion: str, row: dict[str, Any], **parameters: Any) -> float | None:
    """The score, or None where the verifier came to no verdict."""
    verdict = build_verifier("reasoning_gym", parameters)(completion, row)
    return verdict.score if verdict.verified else None


def test_the_answer_is_read_where_it_is_said_to_stand() -> None:
    row = problem("chain_sum")
    right = row["answer"]
    assert score(f" {right}\n", row) == 1
    assert score(f"Let me think.\nIt is\n{right}\n", row, extract="last_line") == 1
    assert score(f"1 <answer>0</answer> <answer> {right} </answer> done", row, extract="answer_tags") == 1
    assert score(f"{right}\nno", row, extract="last_line") == 0
    assert score(right, row, extract="answer_tags") == 0
    assert score(f"<answer>{right}", row, extract="answer_tags") == 0
    assert score("", row) == 0


def test_a_dataset_may_give_a_part_of_the_score() -> None:
    """A correct answer among other text is right in part: the default of reasoning-gym's datasets."""
    row = problem("caesar_cipher")
    part = score(row["answer"] + " or so", row)
    assert part is not None
    assert 0 < part < 1


def test_any_right_answer_counts_and_not_only_the_one_in_the_row() -> None:
    row = problem("countdown", min_numbers=3, max_numbers=3)
    assert score(row["answer"], row) == 1
    assert score(f"(({row['answer']}))", row) == 1
    assert score(f"{row['answer']} + 1", row) != 1


def test_an_answer_that_makes_the_scorer_raise_is_not_verified() -> None:
    assert score("nonsense (", problem("prime_factorization")) is None


def test_an_answer_without_end_is_not_verified() -> None:
    row = problem("n_queens")
    assert score("9**9**9**9", row, timeout_seconds=0.2) is None
    assert score("x" * (MAX_ANSWER + 1), row) is None
    assert score(row["answer"], row) == 1


def test_the_verdict_does_not_depend_on_what_the_process_remembers() -> None:
    row = problem("maze")
    before = score(row["answer"], row)
    SANDBOX.close()
    assert score(row["answer"], row) == before == 1


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "no_such"},
        {"index": -1},
        {"index": 10**9},
        {"config": {"data_file": "x"}},
        {"seed": "one"},
    ],
)
def test_a_source_that_is_none_is_not_verified(change: dict[str, Any]) -> None:
    row = problem("spell_backward")
    assert score(row["answer"], row) == 1
    assert score(row["answer"], {**row, "source": {**row["source"], **change}}) is None


def test_the_column_is_known_before_the_run() -> None:
    assert reference_columns([RewardPart(verifier="reasoning_gym")]) == {"source"}
