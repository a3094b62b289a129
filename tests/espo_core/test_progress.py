from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from espo_contracts.events import Checkpoint, Event, FileEntry, Log, Metrics, Started
from espo_core.progress import RunView

FILES = [FileEntry(name="model.safetensors", size=1, sha256="0" * 64)]


def metrics(step: int, **held_out: float) -> Metrics:
    values = {"reward/mean": step / 100, "policy/clip_fraction": 0.05, **held_out}
    return Metrics(step=step, values={name.replace("__", "/"): one for name, one in values.items()})


def shown(events: list[Event], folder: Path, *, is_terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=120)
    with RunView(console, folder, keep=1) as view:
        for event in events:
            view.emit(event)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def started() -> Started:
    return Started(total_steps=40, device="cpu", parameters=2000, trainable_parameters=1000)


def test_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    accuracy = {"held_out__greedy": 0.5, "held_out__greedy_low": 0.4, "held_out__greedy_high": 0.6}
    events: list[Event] = [
        started(),
        metrics(9),
        metrics(10),
        metrics(11, **accuracy),
        metrics(12, **accuracy, held_out__pass_at_8=0.75, held_out__pass_at_16=0.875),
        Log(message="careful"),
    ]
    assert shown(events, tmp_path, is_terminal=False).splitlines() == [
        "1,000 trainable parameters on cpu, from the base model",
        "step 10: reward 0.100, clip fraction 0.050",
        "step 11: reward 0.110, clip fraction 0.050, held-out accuracy 50.0% (40.0% to 60.0%)",
        "step 12: reward 0.120, clip fraction 0.050, held-out accuracy 50.0% (40.0% to 60.0%), pass@16 87.5%",
        "info: careful",
    ]
    kept = [json.loads(line)["type"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert kept == ["started", "metrics", "metrics", "metrics", "metrics", "log"]


def test_a_bar_where_there_is_one(tmp_path: Path) -> None:
    text = shown([started(), metrics(10)], tmp_path, is_terminal=True)
    assert "10/40" in text
    assert "reward 0.100, clip fraction 0.050" in text


def test_the_best_and_the_newest_checkpoints_are_kept_over_a_restart(tmp_path: Path) -> None:
    for step, accuracy in ((1, 0.1), (2, 0.5), (3, 0.4), (4, 0.3)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        shown(
            [started(), Checkpoint(step=step, files=FILES, metrics={"held_out/greedy": accuracy})],
            tmp_path,
            is_terminal=False,
        )
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-4"}
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 8


def test_events_of_a_run_that_left_no_checkpoint_are_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        shown([started(), metrics(1)], tmp_path, is_terminal=False)
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 2
