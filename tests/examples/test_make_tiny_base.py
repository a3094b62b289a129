"""The base model's script at reduced size, and the committed folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from espo_core.tasks import build_task
from espo_core.verifiers import build_verifier

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "examples" / "tiny-base"
TEXT = "2 6 8 4>08:6*2=12,12-8=4,4+4=8/9 13570"


def make(folder: Path, *arguments: str) -> str:
    """Runs the script; returns what it printed."""
    command = [sys.executable, "examples/make_tiny_base.py", "--output", str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, check=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "reduced"
    printed = make(folder, "--numbers", "3", "--steps", "40", "--prompts", "64")
    assert "3 numbers:" in printed
    return folder


@pytest.mark.slow
def test_the_script_learns_and_says_how_well(reduced: Path) -> None:
    facts = json.loads((reduced / "training.json").read_text())
    assert facts["loss"]["last"] < 0.7 * facts["loss"]["first"]
    assert facts["recipe"]["steps"] == 40
    assert [row["numbers"] for row in facts["held_out"]] == [3]
    assert "3 numbers" in (reduced / "README.md").read_text()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(reduced: Path, tmp_path: Path) -> None:
    make(tmp_path / "again", "--numbers", "3", "--steps", "40", "--prompts", "64")
    weights = [folder / "model.safetensors" for folder in (reduced, tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_the_made_folder_loads(reduced: Path) -> None:
    check_folder(reduced)


def test_the_committed_folder_loads_and_is_small() -> None:
    check_folder(COMMITTED)
    assert sum(file.stat().st_size for file in COMMITTED.iterdir()) <= 4 * 1024**2


def check_folder(folder: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer.encode(TEXT)
    assert len(ids) == len(TEXT)
    assert tokenizer.decode(ids) == TEXT
    assert len(tokenizer) == 22 == model.config.vocab_size
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (1, 0)
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "2 6 8 4>08:"}], tokenize=False)
    assert chat == "2 6 8 4>08:"
    assert tokenizer.decode(tokenizer.encode("2+x\n"), skip_special_tokens=True) == "2+"


@pytest.mark.slow
def test_the_committed_model_has_the_skill_that_its_card_states() -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(COMMITTED)
    model: Any = AutoModelForCausalLM.from_pretrained(COMMITTED)
    judge = build_verifier("countdown", {})
    for stated in json.loads((COMMITTED / "training.json").read_text())["held_out"]:
        parameters = {"numbers": stated["numbers"], "held_out_rows": stated["prompts"], "train_rows": 16}
        rows = build_task("countdown", parameters).rows().held_out
        ids = torch.tensor(tokenizer([row["prompt"] for row in rows])["input_ids"])
        tokens = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=32)
        texts = tokenizer.batch_decode(tokens[:, ids.shape[1] :], skip_special_tokens=True)
        right = sum(judge(text, row).score for text, row in zip(texts, rows, strict=True)) / len(rows)
        assert right == pytest.approx(stated["greedy"], abs=0.01)
        assert 0.2 < right < 0.55
