from __future__ import annotations

from typing import Any

import pytest

from api.catalogue.models import facts_of
from api.jobs.workload import DataFacts, Workload, workload
from tests.api.jobs.needs import TINY_BASE, job


def load(facts: DataFacts, **parts: dict[str, Any]) -> Workload:
    return workload(job(**parts), facts_of(TINY_BASE), facts)


def test_a_passes_positions_by_hand() -> None:
    one = load(
        DataFacts(characters=10, rows=100),
        rollout={"group_size": 4, "prompts_per_step": 8, "max_new_tokens": 6},
        optimiser={"mini_batches": 2},
        schedule={"evaluate_samples": 3},
        data={"held_out": {"max_prompts": 20}},
    )
    assert (one.prompt, one.groups) == (10, 4)
    assert one.batches == ((8, 4), (20, 1), (20, 3))
    assert (one.nodes, one.trained) == (4 * (10 + 4 * 6), 8 * (10 + 4 * 6))
    assert one.paths == 4 * 4 * (10 + 6)
    assert one.nodes < one.queries <= one.paths


@pytest.mark.parametrize(("tokens", "groups"), [(1000, 4), (102, 3), (101, 2), (64, 1)])
def test_a_pass_takes_as_many_groups_as_fit(tokens: int, groups: int) -> None:
    rollout = {"group_size": 4, "prompts_per_step": 8, "max_new_tokens": 6}
    optimiser = {"mini_batches": 2, "micro_batch_tokens": tokens}
    assert load(DataFacts(characters=10), rollout=rollout, optimiser=optimiser).groups == groups


def test_several_devices_share_a_step() -> None:
    rollout, optimiser = {"prompts_per_step": 32}, {"mini_batches": 2}
    one = load(DataFacts(characters=10), rollout=rollout, optimiser=optimiser, resources={"devices": 3})
    assert (one.prompts, one.groups) == (11, 6)


@pytest.mark.parametrize(
    ("facts", "limit", "expected"),
    [
        (DataFacts(characters=140.0), 1024, 140),
        (DataFacts(characters=140.0), 128, 128),
        (DataFacts(), 1024, 600),
    ],
)
def test_prompts_are_as_long_as_the_data_says(facts: DataFacts, limit: int, expected: int) -> None:
    assert load(facts, data={"max_prompt_tokens": limit}).prompt == expected


def test_a_token_of_a_large_vocabulary_is_several_characters() -> None:
    assert workload(job(), None, DataFacts(characters=140.0)).prompt == 47


@pytest.mark.parametrize(("rows", "held_out"), [(100, 10), (10_000, 512), (None, 512)])
def test_of_a_file_a_share_is_held_out(rows: int | None, held_out: int) -> None:
    data = {"task": None, "file": f"file-{'0' * 32}"}
    assert load(DataFacts(rows=rows), data=data).held_out == held_out
