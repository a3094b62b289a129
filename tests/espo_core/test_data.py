from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from espo_contracts.spec import DataSpec, HeldOut
from espo_core.data import MAX_LINE_BYTES, load_data, read_jsonl, split
from espo_core.errors import DataError
from tests.espo_core.tiny import make_tokenizer

FILE = "file-" + "0" * 32
ROWS = [{"prompt": f"{number}+1=", "answer": str(number + 1)} for number in range(40)]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def spec(**fields: Any) -> DataSpec:
    return DataSpec.model_validate({"file": FILE, **fields})


def test_a_file_is_split_and_rendered(tmp_path: Path) -> None:
    data = load_data(spec(), make_tokenizer(), file=written(tmp_path / "d", ROWS))
    assert (len(data.train), len(data.held_out), data.notes) == (36, 4, [])
    assert {prompt.text for prompt in data.train + data.held_out} == {row["prompt"] for row in ROWS}


def test_a_task_brings_its_own_split() -> None:
    fields = {"task": {"name": "countdown", "parameters": {"train_rows": 20}}, "held_out": {"max_prompts": 7}}
    data = load_data(DataSpec.model_validate(fields), make_tokenizer())
    assert (len(data.train), len(data.held_out)) == (20, 7)


def test_the_split_ignores_order_and_keeps_equal_rows_together() -> None:
    train, held_out = split(ROWS + ROWS, HeldOut(fraction=0.25))
    shuffled = ROWS + ROWS
    random.Random(0).shuffle(shuffled)
    again = split(shuffled, HeldOut(fraction=0.25))
    assert len(held_out) == 20
    assert not {row["prompt"] for row in train} & {row["prompt"] for row in held_out}
    assert {row["prompt"] for row in again[1]} == {row["prompt"] for row in held_out}


@pytest.mark.parametrize(
    ("fraction", "rows", "held_out"), [(0.0, 40, 0), (0.01, 5, 1), (0.5, 1, 0), (0.1, 1, 0)]
)
def test_small_splits(fraction: float, rows: int, held_out: int) -> None:
    train, kept = split(ROWS[:rows], HeldOut(fraction=fraction))
    assert (len(train), len(kept)) == (rows - held_out, held_out)


def test_long_prompts_are_dropped_and_counted(tmp_path: Path) -> None:
    data = load_data(
        spec(max_prompt_tokens=4, held_out={"fraction": 0}),
        make_tokenizer(),
        file=written(tmp_path / "d", ROWS),
    )
    assert {len(prompt.tokens) for prompt in data.train} == {4}
    assert data.notes == ["30 of 40 training prompts are empty or longer than 4 tokens and were dropped"]


def test_no_prompt_fits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the 36 training prompts fits") as caught:
        load_data(spec(max_prompt_tokens=1), make_tokenizer(), file=written(tmp_path / "d", ROWS))
    assert "max_prompt_tokens" in caught.value.hint


def test_no_rows(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("\n  \n")
    with pytest.raises(DataError, match="no rows"):
        load_data(spec(), make_tokenizer(), file=tmp_path / "d")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data file is missing"):
        load_data(spec(), make_tokenizer(), file=tmp_path / "d")


def test_a_column_that_the_reward_reads_is_missing(tmp_path: Path) -> None:
    rows = [*ROWS[:3], {"prompt": "1"}]
    with pytest.raises(DataError, match=r"row \d has no column 'answer', which the reward reads") as caught:
        load_data(
            spec(held_out={"fraction": 0}),
            make_tokenizer(),
            file=written(tmp_path / "d", rows),
            columns=frozenset({"answer"}),
        )
    assert "verifier" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{'a': 1}", "line 2 is not JSON"),
        (b"[1]", "line 2 is not a JSON object"),
        (b"\xff", "line 2 is not JSON"),
        (b" " * MAX_LINE_BYTES + b"x", "line 2 is longer than"),
    ],
)
def test_a_line_that_is_no_row(line: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b'{"prompt": "1"}\n' + line + b"\n")
    with pytest.raises(DataError, match=reason):
        list(read_jsonl(tmp_path / "d"))


def test_a_hub_dataset_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    fields = {"hub": {"id": "nobody/nothing"}}
    with pytest.raises(DataError, match="hub dataset 'nobody/nothing' cannot be loaded") as caught:
        load_data(DataSpec.model_validate(fields), make_tokenizer())
    assert "revision" in caught.value.hint
