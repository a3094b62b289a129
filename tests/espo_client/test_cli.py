"""The `espo` command: what it prints for people and for programs, and how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner, Result

from espo_client.cli import app
from espo_client.records import JobDetail
from tests.espo_client.conftest import Local
from tests.espo_client.local_service import LONG_JOB, SHORT_JOB
from tests.servers import free_port

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


def call(*arguments: str, home: Path, **changes: str) -> Result:
    environment = {"ESPO_HOME": str(home), "ESPO_BASE_URL": "", "ESPO_API_KEY": ""} | changes
    return CliRunner().invoke(app, list(arguments), env=environment)


def good(*arguments: str, home: Path) -> str:
    result = call(*arguments, home=home)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str, tmp_path: Path) -> None:
    assert re.search(rf"(?m)^ .*espo {command}\b", good(command, "--help", home=tmp_path))


def test_alone_it_lists_its_commands(tmp_path: Path) -> None:
    text = call(home=tmp_path).output
    assert all(f" {command} " in text for command in COMMANDS)


def test_without_credentials_it_says_how_to_get_them(tmp_path: Path) -> None:
    result = call("jobs", home=tmp_path)
    assert result.exit_code == 1
    assert "Start a service with `espo up`" in result.output


@pytest.mark.slow
def test_nobody_there_has_a_status_of_its_own(tmp_path: Path) -> None:
    base_url = f"http://127.0.0.1:{free_port()}"
    result = call("jobs", home=tmp_path, ESPO_BASE_URL=base_url, ESPO_API_KEY="espo_x")
    assert result.exit_code == 4
    assert f"No answer from {base_url}" in result.output


@pytest.mark.slow
def test_a_wrong_key_is_explained(local: Local) -> None:
    result = call("jobs", home=local.home, ESPO_API_KEY="espo_wrong")
    assert result.exit_code == 1
    assert "The key is not valid here" in result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["jobs", "--tag", "test"], r"job-[0-9a-f]{32} +succeeded +3/3 +\d\.\d{3}"),
        (["show"], r"succeeded at step 3 of 3"),
        (["metrics"], r"(?m)^3 +\d"),
        (["samples", "--step", "2"], r"step 2  reward \d\.\d{3}"),
        (["events"], r"state .*succeeded"),
        (["checkpoints"], r"(?m)^3 +2\.\d MB +\d+"),
        (["models"], r"tiny-base +0\.23 M +LlamaForCausalLM"),
        (["algorithms"], r"espo .*arXiv:2512\.00499v2"),
        (["verifiers"], "countdown"),
        (["tasks"], "countdown"),
        (["validate", "examples/quickstart.yaml"], r"is a valid job[\s\S]*memory: about \d+ MB \(process"),
    ],
)
def test_for_people(local: Local, trained: JobDetail, arguments: list[str], expected: str) -> None:
    command, *options = arguments
    of_job = ["show", "metrics", "samples", "events", "checkpoints"]
    job = [trained.id] if command in of_job else []
    assert re.search(expected, good(command, *job, *options, home=local.home))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["show", "metrics", "samples", "checkpoints"])
def test_for_programs_of_a_job(local: Local, trained: JobDetail, command: str) -> None:
    assert json.loads(good(command, trained.id, "--json", home=local.home))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["jobs", "models", "algorithms", "verifiers", "tasks"])
def test_for_programs(local: Local, trained: JobDetail, command: str) -> None:
    found = json.loads(good(command, "--json", home=local.home))
    assert all(entry["name"] for entry in found)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--follow"]])
def test_events_come_as_lines_of_json(local: Local, trained: JobDetail, options: list[str]) -> None:
    lines = good("events", trained.id, "--json", *options, home=local.home).splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(1, trained.event_count + 1))


@pytest.mark.slow
def test_from_a_local_data_file_to_a_downloaded_model(local: Local, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{a} {b} 2>{a + b + 2:02d}:", "answer": "1"} for a in range(1, 9) for b in range(1, 9)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job: dict[str, Any] = SHORT_JOB | {
        "name": "from-a-file",
        "data": {"file": "rows.jsonl", "held_out": {"max_prompts": 4}},
        "reward": [{"verifier": "length", "parameters": {}}],
    }
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    submitted = json.loads(good("submit", str(path), "--json", home=local.home))
    assert submitted["spec"]["data"]["file"] in good("files", home=local.home)
    result = call("watch", submitted["id"], home=local.home)
    assert result.exit_code == 0, result.output
    assert "succeeded at step 3 of 3" in result.stderr
    target = tmp_path / "model"
    assert good("download", submitted["id"], "--to", str(target), home=local.home).strip() == str(target)
    assert (target / "config.json").is_file()
    plot = tmp_path / "plot.png"
    good("plot", submitted["id"], "--to", str(plot), home=local.home)
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_cancelled_job_ends_its_watcher_with_a_status_of_its_own(local: Local, tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(LONG_JOB))
    job = json.loads(good("submit", str(path), "--json", home=local.home))["id"]
    assert "cancel" in good("cancel", job, home=local.home)
    result = call("watch", job, home=local.home)
    assert result.exit_code == 3
    assert f"Job {job} cancelled" in result.output


@pytest.mark.slow
def test_a_refused_job_shows_each_field_and_a_missing_one_where_to_look(local: Local, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(SHORT_JOB | {"algorithm": {"name": "espoo"}, "model": {"name": "none"}}))
    for command in ("submit", "validate"):
        result = call(command, str(path), home=local.home)
        assert result.exit_code == 1
        assert "algorithm.name: " in result.output
        assert "model.name: " in result.output
    result = call("show", "job-" + "0" * 32, home=local.home)
    assert result.exit_code == 1
    assert "`espo jobs`" in result.output
