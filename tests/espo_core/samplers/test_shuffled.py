from __future__ import annotations

import pytest

from espo_core.errors import CheckpointError
from espo_core.samplers.base import SamplerState
from espo_core.samplers.shuffled import ShuffledSampler


def test_each_pass_hands_out_every_prompt_once_in_a_new_order() -> None:
    sampler = ShuffledSampler(10, seed=0)
    drawn = [index for _ in range(5) for index in sampler.next(4)]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:]


def test_more_than_a_pass_at_once() -> None:
    assert sorted(ShuffledSampler(3, seed=0).next(9)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("before", [0, 3, 10, 25])
def test_a_restored_sampler_continues(before: int) -> None:
    first = ShuffledSampler(10, seed=7)
    first.next(before)
    second = ShuffledSampler(10, seed=7)
    second.restore(SamplerState.model_validate_json(first.state().model_dump_json()), {})
    assert second.next(30) == first.next(30)


def test_the_place_of_other_data_is_refused() -> None:
    with pytest.raises(CheckpointError, match="made with 10 prompts, the data has 11"):
        ShuffledSampler(11, seed=7).restore(ShuffledSampler(10, seed=7).state(), {})
