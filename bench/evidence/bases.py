"""The base models of the campaign: small Llamas warmed up on random solutions, remade anywhere from a recipe.

They are kept in a cache outside git. The same recipe gives the same weights on machines of one kind.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import torch
from transformers import LlamaForCausalLM

from bench.evidence.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "examples" / "tiny-base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base model: its warm-start, or the committed model where `steps` is 0."""

    name: str
    tasks: tuple[str, ...] = ("countdown3", "countdown4")
    """Names in TASKS; a row is of one of them with equal chance."""
    hidden_size: int = 96
    steps: int = 1500
    seed: int = 0
    batch_size: int = 64
    learning_rate: float = 4e-3


COMMITTED_BASE = Base(name="tiny-base", steps=0)
"""`examples/tiny-base`."""


def tuning_bases() -> tuple[Base, ...]:
    """Two sizes; the final table uses other base models."""
    return (Base(name="h64-1", hidden_size=64, steps=2000, seed=1), Base(name="h96-1", seed=1))


def countdown_bases() -> tuple[Base, ...]:
    """Two sizes, three seeds each, in the order in which pairs use them."""
    return tuple(
        Base(name=f"count{size}-{seed}", tasks=("three numbers", "four numbers"), hidden_size=size, seed=seed)
        for seed in (11, 12, 13)
        for size in (64, 96)
    )


def sorting_bases() -> tuple[Base, ...]:
    """Base models of the other task; a sorter is stopped early, as it soon knows all."""
    return tuple(
        Base(name=f"sort{size}-{seed}", tasks=("sorting",), hidden_size=size, steps=500, seed=seed)
        for seed in (1, 2)
        for size in (64, 96)
    )


def base_folder(base: Base, cache: Path) -> Path:
    """The folder of a base model, made now if it is not there."""
    if base.steps == 0:
        return COMMITTED
    folder = cache / base.name
    recipe = json.dumps(asdict(base), indent=2) + "\n"
    if not (folder / "recipe.json").exists():
        _make(base, folder, recipe)
    if (folder / "recipe.json").read_text() != recipe:
        raise SystemExit(f"{folder} was made by another recipe: remove it")
    return folder


def _make(base: Base, folder: Path, recipe: str) -> None:
    """Trains in a temporary folder beside the target, so that a half-made model is never used."""
    torch.set_num_threads(1)
    script = _script()
    tokenizer = (TASKS[base.tasks[0]].make_tokenizer or script.make_tokenizer)()
    model = _fresh_model(script, tokenizer, base)
    _warm_start(script, model, tokenizer, base)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "made"
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
        (made / "recipe.json").write_text(recipe)
        made.rename(folder)


def _script() -> ModuleType:
    """`examples/make_tiny_base.py`, whose tokenizer, batches and schedule are used here."""
    spec = importlib.util.spec_from_file_location("make_tiny_base", ROOT / "examples" / "make_tiny_base.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _fresh_model(script: ModuleType, tokenizer: Any, base: Base) -> LlamaForCausalLM:
    """The architecture of `examples/tiny-base`, with another width."""
    model = script.make_model(tokenizer, base.seed)  # sets its vocabulary too
    config = model.config
    config.hidden_size, config.intermediate_size = base.hidden_size, base.hidden_size * 8 // 3
    config.head_dim = base.hidden_size // config.num_attention_heads
    torch.manual_seed(base.seed)
    wider = LlamaForCausalLM(config)
    wider.generation_config = model.generation_config
    return wider


def _warm_start(script: ModuleType, model: LlamaForCausalLM, tokenizer: Any, base: Base) -> None:
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=base.learning_rate, betas=(0.9, 0.95), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: float(script.learning_rate_share(step, base.steps))
    )
    rows = _rows(base)
    for _ in range(base.steps):
        batch = script.batch_of([next(rows) for _ in range(base.batch_size)], tokenizer)
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()


def _rows(base: Base) -> Iterator[tuple[str, str]]:
    """Prompts and answers without end, none of them held out."""
    random = Random(f"evidence/{base.seed}")
    streams = [TASKS[name].warm_rows(random) for name in base.tasks]
    while True:
        yield next(random.choice(streams))
