"""The models of the works, made once and kept in a folder.

`sums` is `hidden-192` after a minute and a half of training on sums, so that its responses end early and by
themselves. The answer to `12+07=` is `19;`, and one in ten shows its work (`19=12+07;`), as in the texts that
it saw: 3.6 tokens in the mean, 9 for the longest of 128. It is right about four times in five, and a
quarter to a half of its groups of eight have equal rewards.
"""

from __future__ import annotations

import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.trainer.works import SEED, ModelKind

SPACES = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0"
"""A fifth of the symbols, so that random responses differ in their number of words, which is the reward."""
PADDING, END = "<pad>", ";"
SYMBOLS = string.digits + string.ascii_lowercase + SPACES + "+-*/=,:.!?()_#@" + END
VOCABULARY = {token: index for index, token in enumerate((PADDING, *SYMBOLS))}
WORK_SHOWN = 0.1
STEPS, TOKENS = 320, 1120
LENGTHS = (35, 35, 35, 280)
"""Of the texts of one step after the other: short ones teach sums, long ones to find the last of many."""


def model_folder(kind: ModelKind, cache: Path) -> Path:
    """The model's folder, made where it is missing."""
    folder = cache / kind
    if not (folder / "tokenizer.json").is_file():
        _MAKERS[kind](folder)
    return folder


def make_tokenizer(vocabulary: dict[str, int] | None = None) -> PreTrainedTokenizerFast:
    """One token a character: 64 of them, one of which ends a response, and padding; or more tokens."""
    characters = Tokenizer(models.WordLevel(vocabulary or VOCABULARY, unk_token=PADDING))
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


def some_sum(random: Random) -> tuple[str, str]:
    """One of 360 sums, in five characters, and its answer, in two."""
    a, b = random.randint(10, 49), random.randint(1, 9)
    return f"{a}+{b:02}", str(a + b)


def sums_text(random: Random, *, length: int) -> str:
    """Sums with their answers, one after the other, the last one complete."""
    text = ""
    while len(text) < length:
        asked, answer = some_sum(random)
        work = f"={asked}" if random.random() < WORK_SHOWN else ""
        text += f"{asked}={answer}{work}{END}"
    return text


def batch_of(texts: list[str]) -> dict[str, Tensor]:
    """Equally long texts as the model reads them, and as labels the answers alone."""
    ids = torch.tensor([[VOCABULARY[symbol] for symbol in text] for text in texts])
    is_answer = torch.tensor([list(_answers(text)) for text in texts])
    return {"input_ids": ids, "labels": ids.masked_fill(~is_answer, -100)}


def _answers(text: str) -> Iterator[bool]:
    """Yields whether each character belongs to an answer: what stands from a `=` to the end."""
    is_open = False
    for symbol in text:
        yield is_open
        is_open = (is_open or symbol == "=") and symbol != END


def train_on_sums(model: LlamaForCausalLM, *, steps: int) -> float:
    """Trains it in place; returns the last loss."""
    random, loss = Random(SEED), torch.zeros(())
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / 20) * max(0.05, 1 - step / steps)
    )
    for step in range(steps):
        length = LENGTHS[step % len(LENGTHS)]
        texts = [sums_text(random, length=length)[:length] for _ in range(TOKENS // length)]
        batch = batch_of(texts)
        loss = model(**batch).loss
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


def _llama_700m(folder: Path) -> None:
    """Random weights and a vocabulary of words, every other one of which begins with a space."""
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=1280,
        intermediate_size=3840,
        num_hidden_layers=32,
        num_attention_heads=20,
        num_key_value_heads=10,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=VOCABULARY[END],
    )
    torch.manual_seed(SEED)
    LlamaForCausalLM(config).save_pretrained(folder)
    more = range(len(VOCABULARY), config.vocab_size)
    words = {f"{' ' * (index % 2)}w{index}": index for index in more}
    make_tokenizer(VOCABULARY | words).save_pretrained(folder)


_MAKERS: dict[ModelKind, Callable[[Path], None]] = {
    "hidden-192": _random(192),
    "hidden-128": _random(128),
    "sums": _sums,
    "smollm2": _smollm2,
    "llama-700m": _llama_700m,
}
