from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from espo_contracts.events import Event
from espo_core.__main__ import main
from espo_core.progress import RunView
from tests.espo_core.tiny import tiny_job

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def places(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPO_MODEL_PATH", str(tiny_model.parent))
    monkeypatch.setenv("ESPO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def job_file(path: Path, **parts: dict[str, Any]) -> Path:
    spec = tiny_job(**{"schedule": {"steps": 2}, **parts})
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json", exclude_none=True, exclude_defaults=True)))
    return path


def test_a_job_trains_resumes_and_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_file(tmp_path / "short.yaml")
    assert main([str(job)]) == 0
    folder = tmp_path / "home" / "runs" / "short"
    assert {path.name for path in folder.iterdir()} == {"checkpoint-1", "checkpoint-2", "events.jsonl"}

    job_file(tmp_path / "short.yaml", schedule={"steps": 3, "keep": 1})
    assert main([str(job), "--resume"]) == 0
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [one["step"] for one in events if one["type"] == "metrics"] == [1, 2, 3]
    assert "from step 2" in capsys.readouterr().out
    assert "checkpoint-1" not in {path.name for path in folder.iterdir()}

    result = tmp_path / "result.json"
    model = str(folder / "checkpoint-3")
    arguments = ["evaluate", "--model", model, "--job", str(job), "--prompts", "20", "--samples", "2"]
    assert main([*arguments, "--json", str(result)]) == 0
    figures = json.loads(result.read_text())
    assert list(figures) == ["greedy", "sampled", "pass_at_1", "pass_at_2"]
    assert all(set(one) == {"mean", "low", "high", "n"} and one["n"] == 20 for one in figures.values())
    shown = capsys.readouterr().out
    assert all(row in shown for row in ("greedy", "sampled, avg@2", "pass@1", "pass@2"))


def test_a_run_is_not_overwritten_by_accident(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, output = str(job_file(tmp_path / "short.yaml")), ["--output", str(tmp_path / "run")]
    assert main([job, *output, "--resume"]) == 1
    assert "no checkpoint to resume from" in capsys.readouterr().err
    assert main([job, *output]) == 0
    assert main([job, *output]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([job, *output, "--overwrite"]) == 0


def test_a_data_file_may_be_a_path(tmp_path: Path) -> None:
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps({"prompt": f"{i}+1="}) + "\n" for i in range(9)))
    document = yaml.safe_load(job_file(tmp_path / "job.yaml").read_text())
    document["data"] = {"file": "sums.jsonl"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
    assert main(["job.yaml", "--output", "run"]) == 0
    assert (tmp_path / "run" / "checkpoint-2" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (
            {"modle": 1, "rollout": {"group_size": 1, "temprature": 1}},
            ["modle: unknown field; did you mean model?", "rollout.group_size", "did you mean temperature?"],
        ),
        ({"model": {"name": "tinny"}}, ["there is no model 'tinny'; there are: tiny", "ESPO_MODEL_PATH"]),
        (
            {"model": {"checkpoint": {"job": "job-" + "0" * 32, "step": 1}}},
            ["refers to a job of the service"],
        ),
        ({"data": {"file": "nowhere.jsonl"}}, ["data.file 'nowhere.jsonl' is not a file"]),
        ({"data": {"file": "file-" + "0" * 32}}, ["is an uploaded file of the service"]),
        ({"algorithm": {"name": "epso"}}, ["unknown algorithm 'epso'; did you mean 'espo'?"]),
        ({"algorithm": {"parameters": {"alhpa": 1}}}, ["did you mean alpha?"]),
        ({"reward": [{"verifier": "lenght"}]}, ["unknown verifier 'lenght'; did you mean 'length'?"]),
        ({"data": {"task": {"name": "countup"}}}, ["unknown task 'countup'"]),
        ({"resources": {"device": "gpu"}}, ["no CUDA device", "resources.device"]),
    ],
)
def test_a_bad_job_says_what_to_do(
    change: dict[str, Any], reasons: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = yaml.safe_load(job_file(tmp_path / "job.yaml").read_text())
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({**document, **change}))
    assert main(["job.yaml"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert all(reason in told for reason in reasons), told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [", "is not YAML or JSON"),
        (b"\xff\xfe\xfa", "is not YAML or JSON"),
        (b"- 1", "holds no job"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_job(
    content: bytes | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "job.yaml").write_bytes(content)
    assert main(["job.yaml"]) == 1
    assert reason in " ".join(capsys.readouterr().err.split())


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "python -m espo_core examples/quickstart.yaml" in capsys.readouterr().out
    assert main(["evaluate", "--help"]) == 0
    assert "Example: python -m espo_core evaluate" in capsys.readouterr().out


def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(view: RunView, event: Event) -> None:
        emit(view, event)
        if event.type == "checkpoint":
            raise KeyboardInterrupt

    emit = RunView.emit
    monkeypatch.setattr(RunView, "emit", interrupted)
    assert main([str(job_file(tmp_path / "short.yaml")), "--output", "run"]) == 130
    assert "--resume continues from run/checkpoint-1" in capsys.readouterr().out
    monkeypatch.setattr(RunView, "emit", emit)
    assert main(["short.yaml", "--output", "run", "--resume"]) == 0


@pytest.mark.slow
def test_a_job_for_two_devices_starts_two_ranks(tmp_path: Path) -> None:
    job = job_file(tmp_path / "pair.yaml", resources={"devices": 2, "sharding": "sharded"})
    command = [sys.executable, "-m", "espo_core", str(job), "--output", str(tmp_path / "run")]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("on 2 x cpu, from the base model") == done.stdout.count("Done:") == 1
    assert (tmp_path / "run" / "checkpoint-2" / "model.safetensors").is_file()
