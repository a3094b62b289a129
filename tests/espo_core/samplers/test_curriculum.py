from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from espo_contracts.rollout import Curriculum
from espo_core.errors import CheckpointError
from espo_core.samplers.base import SamplerState
from espo_core.samplers.curriculum import CurriculumSampler
from tests.espo_core.tiny import metrics_of, run_job, tiny_job


def sampler(prompts: int, **spec: object) -> CurriculumSampler:
    return CurriculumSampler(prompts, spec=Curriculum.model_validate(spec), seed=7)


def tell(one: CurriculumSampler, places: list[int], right: list[float], judged: float = 8.0) -> None:
    one.observe(places, right=torch.tensor(right), judged=torch.full((len(places),), judged))


def test_a_rate_is_1_half_before_the_first_answer_and_forgets_older_ones() -> None:
    """One right of 8, then 7 right of 8 while the first count half: (0.5 + 7 + 1) / (4 + 8 + 2)."""
    one = sampler(3, memory=0.5)
    tell(one, [1], [1.0])
    assert one.rates().tolist() == pytest.approx([0.5, 2 / 10, 0.5])
    tell(one, [1, 2], [7.0, 8.0])
    assert one.rates().tolist() == pytest.approx([0.5, 8.5 / 14, 9 / 10])


def test_answers_to_a_prompt_that_was_asked_twice_at_once_add_up() -> None:
    one = sampler(2)
    tell(one, [0, 0], [3.0, 5.0])
    assert one.rates().tolist() == pytest.approx([9 / 18, 0.5])


def test_unverified_answers_teach_nothing() -> None:
    one = sampler(2)
    tell(one, [0], [0.0], judged=0.0)
    assert one.rates().tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("favour", "expected"),
    # Rates are 1/10, 1/2 and 9/10: p (1 − p) is 0.09, 0.25, 0.09, and (1 − p) / p is 9, 1, 1/9.
    [("contrast", [9 / 43, 25 / 43, 9 / 43]), ("difficulty", [81 / 91, 9 / 91, 1 / 91])],
)
def test_chances_are_in_proportion_to_the_weights(favour: str, expected: list[float]) -> None:
    one = sampler(3, favour=favour)
    tell(one, [0, 1, 2], [0.0, 4.0, 8.0])
    drawn = Counter(place for _ in range(4000) for place in one.next(1))
    assert [drawn[place] / 4000 for place in range(3)] == pytest.approx(expected, abs=0.03)


def test_prompts_of_one_draw_differ_while_there_are_as_many() -> None:
    one = sampler(10)
    tell(one, list(range(9)), [0.0] * 9, judged=1000.0)
    assert all(len(set(one.next(6))) == 6 for _ in range(50))
    assert Counter(one.next(25)).most_common()[-1][1] == 2


@pytest.mark.parametrize("before", [0, 4, 23])
def test_a_restored_sampler_continues(before: int) -> None:
    first = sampler(10)
    tell(first, first.next(before), [1.0] * before)
    second = sampler(10)
    second.restore(SamplerState.model_validate_json(first.state().model_dump_json()), first.tensors())
    assert second.rates().tolist() == first.rates().tolist()
    assert [second.next(3) for _ in range(5)] == [first.next(3) for _ in range(5)]


def test_the_place_of_other_data_is_refused() -> None:
    with pytest.raises(CheckpointError, match="made with 10 prompts, the data has 11"):
        sampler(11).restore(sampler(10).state(), sampler(10).tensors())
    with pytest.raises(CheckpointError, match="sampler state does not fit"):
        sampler(10).restore(sampler(10).state(), {})


def test_a_run_with_a_curriculum_and_dynamic_sampling_resumes_bit_identical(
    tiny_model: Path, tmp_path: Path
) -> None:
    spec = tiny_job(rollout={"curriculum": {}, "dynamic_sampling": True}, schedule={"steps": 5})
    whole = run_job(spec, tmp_path / "whole", tiny_model)
    plain = run_job(tiny_job(schedule={"steps": 1}), tmp_path / "plain", tiny_model)
    assert metrics_of(whole)[1] != metrics_of(plain)[1]
    for step in range(1, 5):
        rest = run_job(spec, tmp_path / "rest", tiny_model, resume=tmp_path / "whole" / f"checkpoint-{step}")
        assert metrics_of(rest) == {at: values for at, values in metrics_of(whole).items() if at > step}
        for path in (tmp_path / "whole" / "checkpoint-5").iterdir():
            assert (tmp_path / "rest" / "checkpoint-5" / path.name).read_bytes() == path.read_bytes()
        shutil.rmtree(tmp_path / "rest")


def test_a_run_tells_its_curriculum_every_answer(tiny_model: Path, tmp_path: Path) -> None:
    rollout = {"curriculum": {"memory": 1.0}, "dynamic_sampling": True, "overlong": {"tokens": 4}}
    told = metrics_of(run_job(tiny_job(rollout=rollout, schedule={"steps": 3}), tmp_path, tiny_model))
    answers = load_file(tmp_path / "checkpoint-3" / "training_state.safetensors")["sampler/answers"]
    asked = [4 * values["rollout/prompts_sampled"] for values in told.values()]
    right = [count * values["reward/mean"] for count, values in zip(asked, told.values(), strict=True)]
    assert answers.shape == (2, 49)
    assert answers.sum().item() == sum(asked)
    assert answers[0].sum().item() == pytest.approx(sum(right), rel=1e-5)
