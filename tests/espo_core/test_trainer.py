from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from espo_contracts.events import Checkpoint, Log, Metrics, Sample, Started
from espo_contracts.job import JobSpec
from espo_core.errors import CheckpointError, NonFiniteLossError, VerifierError
from espo_core.verifiers import VERIFIERS, Row, Verdict, VerifierEntry
from espo_core.verifiers.length import LengthConfig
from tests.espo_core.tiny import metrics_of, run_job, tiny_job

LORA = {"name": "tiny", "lora": {"rank": 4, "alpha": 8, "dropout": 0.25}}
JOBS: dict[str, JobSpec] = {
    "full": tiny_job(
        optimiser={"schedule": "cosine", "warmup_steps": 2, "weight_decay": 0.1, "epochs": 2},
        schedule={"evaluate_every": 2},
    ),
    "lora with dropout": tiny_job(model=LORA),
    "bfloat16": tiny_job(model={"name": "tiny", "dtype": "bfloat16"}, schedule={"steps": 3}),
    "kl to the base model": tiny_job(algorithm={"name": "grpo", "parameters": {"kl_coefficient": 0.1}}),
    "adapters' kl": tiny_job(
        model=LORA, algorithm={"name": "grpo", "parameters": {"kl_coefficient": 0.1}}, schedule={"steps": 3}
    ),
    "entropy controller": tiny_job(
        algorithm={"name": "aer", "parameters": {"coefficient": 0.05}}, schedule={"steps": 3}
    ),
    "learnt baseline": tiny_job(
        algorithm={"name": "grpo", "parameters": {"baseline": "entropy_trajectory"}}, schedule={"steps": 3}
    ),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_resumed_run_is_bit_identical(name: str, tiny_model: Path, tmp_path: Path) -> None:
    spec, last = JOBS[name], JOBS[name].schedule.steps
    whole = run_job(spec, tmp_path / "whole", tiny_model)
    for step in range(1, last):
        work_dir = tmp_path / f"from-{step}"
        rest = run_job(spec, work_dir, tiny_model, resume=tmp_path / "whole" / f"checkpoint-{step}")
        expected = {one: values for one, values in metrics_of(whole).items() if one > step}
        assert metrics_of(rest) == expected
        assert _contents(work_dir / f"checkpoint-{last}") == _contents(
            tmp_path / "whole" / f"checkpoint-{last}"
        )
        shutil.rmtree(work_dir)


def test_the_seed_decides_a_run(tiny_model: Path, tmp_path: Path) -> None:
    spec = tiny_job(schedule={"steps": 2})
    first, again = (metrics_of(run_job(spec, tmp_path / name, tiny_model)) for name in ("a", "b"))
    other = metrics_of(run_job(spec.model_copy(update={"seed": 4}), tmp_path / "c", tiny_model))
    assert first == again
    assert first[1]["reward/mean"] != other[1]["reward/mean"]


def test_training_raises_the_reward(tiny_model: Path, tmp_path: Path) -> None:
    metrics = metrics_of(run_job(tiny_job(schedule={"steps": 12}), tmp_path, tiny_model))
    rewards = [_number(metrics[step]["reward/mean"]) for step in metrics]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.2


def test_a_run_tells_what_happened(tiny_model: Path, tmp_path: Path) -> None:
    spec = tiny_job(schedule={"steps": 2, "evaluate_every": 1, "samples_per_step": 1, "checkpoint_every": 0})
    events = run_job(spec, tmp_path, tiny_model)
    kinds = [event.type for event in events]
    step = ["sample"] * 4 + ["metrics"]
    assert kinds == ["started", "metrics", *step, *step, "checkpoint"]
    started, first = events[0], events[1]
    assert isinstance(started, Started)
    assert (started.total_steps, started.resumed_from, started.device) == (2, None, "cpu")
    assert started.parameters == started.trainable_parameters
    assert isinstance(first, Metrics)
    assert first.step == 0
    assert set(first.values) == {
        "held_out/greedy",
        "held_out/greedy_low",
        "held_out/greedy_high",
        "held_out/prompts",
    }


def test_an_evaluation_draws_as_many_responses_as_asked_and_checkpoints_keep_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    schedule = {"steps": 2, "evaluate_every": 2, "evaluate_samples": 2, "checkpoint_every": 1}
    data = {"task": {"name": "countdown", "parameters": {"numbers": 3, "train_rows": 50}}}
    held_out = {"held_out": {"max_prompts": 8}}
    events = run_job(tiny_job(schedule=schedule, data=data | held_out), tmp_path, tiny_model)
    plain = run_job(
        tiny_job(schedule=schedule | {"evaluate_samples": 0}, data=data | held_out),
        tmp_path / "b",
        tiny_model,
    )
    first, last = (event.values for event in events if isinstance(event, Metrics) and event.step != 1)
    assert "held_out/pass_at_2_high" in first
    one, two = (event.metrics for event in events if isinstance(event, Checkpoint))
    assert set(one) == {"reward/mean"}
    assert two == {name: last[name] for name in ("reward/mean", *first)}
    # Evaluating changes nothing in a run.
    assert metrics_of(plain)[2].items() <= metrics_of(events)[2].items()


def test_metrics_of_a_step(tiny_model: Path, tmp_path: Path) -> None:
    events = run_job(tiny_job(schedule={"steps": 1}), tmp_path, tiny_model)
    values = next(event.values for event in events if isinstance(event, Metrics))
    samples = [event for event in events if isinstance(event, Sample)]
    assert len(samples) == 8
    assert all(sample.reward_parts == {"length": pytest.approx(sample.reward)} for sample in samples)
    assert sum(sample.advantage for sample in samples[:4]) == pytest.approx(0, abs=1e-5)
    assert 0 < _number(values["policy/entropy"]) < 3.1
    assert _number(values["policy/sampler_gap"]) < 1e-5
    assert _number(values["rollout/length_mean"]) * 16 == _number(values["rollout/tokens"])
    assert values["optimiser/learning_rate"] == 1e-2
    for name in (
        "clip_fraction",
        "gradient_utilisation",
        "ratio_mean",
        "ratio_max",
        "approx_kl",
        "epsilon_mean_0",
    ):
        assert f"policy/{name}" in values
    for name in ("time/rollout_seconds", "time/update_seconds", "time/step_seconds", "memory/peak_bytes"):
        assert _number(values[name]) > 0


@pytest.mark.parametrize("model", [{"name": "tiny"}, LORA], ids=["full", "lora"])
def test_a_checkpoint_is_a_model_folder(model: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    events = run_job(tiny_job(model=model, schedule={"steps": 2}), tmp_path, tiny_model)
    told = [event for event in events if isinstance(event, Checkpoint)]
    folder = tmp_path / "checkpoint-2"
    assert [event.step for event in told] == [1, 2]
    assert {one.name: one.size for one in told[-1].files} == {
        path.name: path.stat().st_size for path in folder.iterdir()
    }
    trained = AutoModelForCausalLM.from_pretrained(folder)
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    changed = [
        name for name, one in trained.state_dict().items() if not torch.equal(one, base.state_dict()[name])
    ]
    assert trained.state_dict().keys() == base.state_dict().keys()
    assert any("q_proj" in name for name in changed)
    assert AutoTokenizer.from_pretrained(folder).encode("1+2") == AutoTokenizer.from_pretrained(
        tiny_model
    ).encode("1+2")


def test_a_loss_that_is_not_finite_ends_the_run(tiny_model: Path, tmp_path: Path) -> None:
    spec = tiny_job(optimiser={"learning_rate": 1.0, "max_gradient_norm": 1e6}, model={"name": "tiny"})
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] *= torch.inf
    _rewrite(broken, weights)
    with pytest.raises(NonFiniteLossError, match="step 1") as caught:
        run_job(spec, tmp_path / "run", broken)
    assert caught.value.step == 1
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_people_hear_of_dropped_prompts(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "1+1="}\n{"prompt": "1+1+1+1="}\n{"prompt": "2+1="}\n')
    data = {"task": None, "file": "file-" + "0" * 32, "max_prompt_tokens": 5, "held_out": {"fraction": 0}}
    events = run_job(tiny_job(data=data, schedule={"steps": 1}), tmp_path, tiny_model, data_file=file)
    (log,) = (event for event in events if isinstance(event, Log))
    assert log.level == "warning"
    assert log.message.startswith("1 of 3 training prompts are empty or longer than 5 tokens")


@pytest.mark.parametrize(("epsilon_min", "warnings"), [(0.0, 1), (1e-3, 0)])
def test_people_hear_that_bfloat16_blurs_a_narrow_trust_region(
    epsilon_min: float, warnings: int, tiny_model: Path, tmp_path: Path
) -> None:
    algorithm = {"name": "espo", "parameters": {"epsilon_min": epsilon_min}}
    spec = tiny_job(model={"name": "tiny", "dtype": "bfloat16"}, algorithm=algorithm, schedule={"steps": 2})
    logs = [event for event in run_job(spec, tmp_path, tiny_model) if isinstance(event, Log)]
    assert len(logs) == warnings
    assert all("epsilon_min" in log.message for log in logs)


def raising(completion: str, row: Row) -> Verdict:
    raise RuntimeError("no judge today")


def test_a_verifier_that_raises_ends_the_run_with_its_reason(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = VerifierEntry(name="length", summary="", config=LengthConfig, build=lambda _: raising)
    monkeypatch.setitem(VERIFIERS, "length", entry)
    with pytest.raises(VerifierError, match="length: RuntimeError: no judge today") as caught:
        run_job(tiny_job(), tmp_path, tiny_model)
    assert caught.value.code == "verifier_error"


@pytest.mark.parametrize("file", ["training_state.json", "training_state.safetensors"])
def test_a_damaged_checkpoint_is_refused(file: str, tiny_model: Path, tmp_path: Path) -> None:
    spec = tiny_job(schedule={"steps": 2})
    run_job(spec, tmp_path, tiny_model)
    path = tmp_path / "checkpoint-1" / file
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="checkpoint-1 cannot be resumed"):
        run_job(spec, tmp_path / "b", tiny_model, resume=tmp_path / "checkpoint-1")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": LORA}, "does not fit this model"),
        ({"data": {"task": {"name": "countdown", "parameters": {"train_rows": 20}}}}, "made with 49 prompts"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    change: dict[str, Any], reason: str, tiny_model: Path, tmp_path: Path
) -> None:
    run_job(tiny_job(schedule={"steps": 1}), tmp_path, tiny_model)
    with pytest.raises(CheckpointError, match=reason):
        run_job(tiny_job(**change), tmp_path / "b", tiny_model, resume=tmp_path / "checkpoint-1")


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _rewrite(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.load_state_dict(weights, strict=False)
    model.save_pretrained(folder)


def _number(value: float | None) -> float:
    assert value is not None
    return value
