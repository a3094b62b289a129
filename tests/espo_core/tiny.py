"""A real language model small enough to train in a test, and jobs for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from espo_contracts.events import Event, Metrics
from espo_contracts.job import JobSpec
from espo_contracts.validation import parse_job_spec
from espo_core.trainer import RunInputs, Trainer

SYMBOLS = "0123456789+-*/=,>: "
CHAT_TEMPLATE = "{% for m in messages %}{{ m['content'] }}>{% endfor %}"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character."""
    vocabulary = {token: index for index, token in enumerate(("<pad>", "<eos>", "<unk>", *SYMBOLS))}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    characters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=characters,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def save_tiny_model(folder: Path, **changes: Any) -> Path:
    """Writes a Llama of random weights: 2 layers, grouped-query attention, tied embeddings."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "tie_word_embeddings": True,
            "initializer_range": 0.2,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            **changes,
        }
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_job(**parts: dict[str, Any]) -> JobSpec:
    """A job of six steps whose reward is shortness; `parts` are merged into its sections."""
    document: dict[str, Any] = {
        "seed": 3,
        "model": {"name": "tiny"},
        "data": {"task": {"name": "countdown", "parameters": {"numbers": 3, "train_rows": 50}}},
        "algorithm": {"name": "espo", "parameters": {"alpha": 0.1}},
        "rollout": {"group_size": 4, "prompts_per_step": 4, "max_new_tokens": 12},
        "optimiser": {"learning_rate": 1e-2, "mini_batches": 2},
        "schedule": {"steps": 6, "checkpoint_every": 1},
    }
    merged = {name: {**document.get(name, {}), **part} for name, part in parts.items()}
    reward = [{"verifier": "length", "parameters": {"full_until": 0, "zero_from": 12}}]
    return parse_job_spec({**document, **merged, "reward": reward})


def run_job(spec: JobSpec, work_dir: Path, model: Path, **inputs: Any) -> list[Event]:
    """The events of a run."""
    events: list[Event] = []
    Trainer(RunInputs(spec=spec, work_dir=work_dir, model=model, **inputs), events.append).run()
    return events


def metrics_of(events: list[Event]) -> dict[int, dict[str, float | None]]:
    """Metrics by step, without those that measure the machine."""
    return {
        event.step: {
            name: value
            for name, value in event.values.items()
            if not name.startswith(("time/", "memory/")) and name != "rollout/tokens_per_second"
        }
        for event in events
        if isinstance(event, Metrics)
    }
