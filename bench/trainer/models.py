"""The models of the works, made once and kept in a folder.

`sums` is `hidden-192` after a short training on sums, so that its responses end early and by themselves: the
answer to `12+34=` is `46;`, and one in fifty shows its work (`46=12+34;`), which gives lengths of 3.7 tokens
in the mean and about 9 for the longest of 128.
"""

from __future__ import annotations

import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.trainer.works import SEED, ModelKind

SPACES = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0"
"""A fifth of the symbols, so that random responses differ in their number of words, which is the reward."""
PADDING, END = "<pad>", ";"
SYMBOLS = string.digits + string.ascii_lowercase + SPACES + "+-*/=,:.!?()_#@" + END
WORK_SHOWN = 0.02
STEPS, BATCH, LENGTH = 300, 4, 280


def model_folder(kind: ModelKind, cache: Path) -> Path:
    """The model's folder, made where it is missing."""
    folder = cache / kind
    if not (folder / "tokenizer.json").is_file():
        _MAKERS[kind](folder)
    return folder


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character: 64 of them, one of which ends a response, and padding."""
    vocabulary = {token: index for index, token in enumerate((PADDING, *SYMBOLS))}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token=PADDING))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    characters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=characters, pad_token=PADDING, eos_token=END, clean_up_tokenization_spaces=False
    )


def make_llama(hidden: int) -> LlamaForCausalLM:
    """A Llama of 4 layers with random weights, the same at every call."""
    tokenizer = make_tokenizer()
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=8 * round(hidden / 3),
        num_hidden_layers=4,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def sums_text(random: Random, *, length: int) -> str:
    """Sums with their answers, one after the other, the last one complete."""
    text = ""
    while len(text) < length:
        a, b = random.randint(10, 99), random.randint(10, 99)
        work = f"={a}+{b}" if random.random() < WORK_SHOWN else ""
        text += f"{a}+{b}={a + b}{work}{END}"
    return text


def train_on_sums(model: LlamaForCausalLM, *, steps: int) -> float:
    """Trains it in place; returns the last loss."""
    random, tokenizer, loss = Random(SEED), make_tokenizer(), torch.zeros(())
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, total_iters=steps)
    for _ in range(steps):
        texts = [sums_text(random, length=LENGTH)[:LENGTH] for _ in range(BATCH)]
        ids = tokenizer(texts, return_tensors="pt")["input_ids"]
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    return float(loss.detach())


def _random(hidden: int) -> Callable[[Path], None]:
    return lambda folder: _save(make_llama(hidden), folder)


def _sums(folder: Path) -> None:
    model = make_llama(192)
    train_on_sums(model, steps=STEPS)
    _save(model, folder)


def _save(model: LlamaForCausalLM, folder: Path) -> None:
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


def _smollm2(folder: Path) -> None:
    script = Path(__file__).parents[2] / "examples" / "make_smollm2.py"
    subprocess.run([sys.executable, str(script), "--output", str(folder)], check=True)


_MAKERS: dict[ModelKind, Callable[[Path], None]] = {
    "hidden-192": _random(192),
    "hidden-128": _random(128),
    "sums": _sums,
    "smollm2": _smollm2,
}
