"""Makes `examples/tiny-base`: a language model of 0.2 M parameters with a partial skill in countdown.

    python examples/make_tiny_base.py                        # the committed model, a few minutes on one core
    python examples/make_tiny_base.py --numbers 3 --steps 60 --output /tmp/tiny   # a reduced one, for tests

From scratch: a tokenizer of single characters, a Llama of two layers, and a supervised warm-start on random
solutions of countdown problems. It stops early on purpose: reinforcement learning starts from a model that is
right now and then. The sets of numbers that the `countdown` task holds out are never seen.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from espo_core.tasks import build_task
from espo_core.tasks.countdown import CountdownTaskConfig, number_sets, random_row
from espo_core.verifiers import build_verifier

PAD, END, UNKNOWN = "<pad>", "<eos>", "<unk>"
SPECIALS = (PAD, END, UNKNOWN)
SYMBOLS = "0123456789+-*/=,>: "
# Data in chat form works too: the contents of the messages, one after the other.
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
IGNORED = -100  # a label that HF's loss leaves out
MAX_NEW_TOKENS = 32
STEPS = 1500
FOLDER = Path(__file__).with_name("tiny-base")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The warm-start."""

    numbers: tuple[int, ...] = (3, 4)
    steps: int = STEPS
    batch_size: int = 64
    learning_rate: float = 4e-3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Share of held-out prompts answered right."""

    numbers: int
    greedy: float
    sampled: float
    prompts: int


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Returns a tokenizer with one token a character."""
    vocabulary = {token: index for index, token in enumerate((*SPECIALS, *SYMBOLS))}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    characters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=characters,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Returns a fresh model: two layers, hidden size 96."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        temperature=1.0,
        top_k=0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return model


def examples(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yields prompts and random solutions without end, from the sets of numbers that are not held out."""
    random = Random(f"tiny-base/{recipe.seed}")
    sets = {n: number_sets(CountdownTaskConfig(numbers=n), is_held_out=False) for n in (3, 4)}
    while True:
        row = random_row(random, sets[random.choice(recipe.numbers)], "+-*")
        yield row["prompt"], row["answer"]


def batch_of(rows: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerFast) -> dict[str, torch.Tensor]:
    """Returns the rows padded on the right, with labels on the answers and their ends only."""
    encoded = [(tokenizer.encode(prompt), tokenizer.encode(answer)) for prompt, answer in rows]
    width = max(len(prompt) + len(answer) for prompt, answer in encoded) + 1
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full((len(rows), width), IGNORED)
    for index, (prompt, answer) in enumerate(encoded):
        tokens = torch.tensor([*prompt, *answer, tokenizer.eos_token_id])
        ids[index, : len(tokens)] = tokens
        labels[index, len(prompt) : len(tokens)] = tokens[len(prompt) :]
    return {"input_ids": ids, "labels": labels}


def learning_rate_share(step: int, steps: int) -> float:
    """Returns the share of the peak learning rate: up over 5 %, level, and down to 5 % over the last 7 %.

    Mostly level, because a model cooled down over the whole warm-start has less left to learn afterwards.
    """
    warmup, cooldown = max(1, steps // 20), max(1, steps // 15)
    return min(1.0, (step + 1) / warmup, max(0.05, (steps - step) / cooldown))


def warm_start(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, progress: Progress
) -> list[float]:
    """Trains the model in place; returns the loss of each step."""
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: learning_rate_share(step, recipe.steps)
    )
    rows, losses = examples(recipe), []
    bar = progress.add_task("warm-start", total=recipe.steps, loss=float("nan"))
    for _ in range(recipe.steps):
        batch = batch_of([next(rows) for _ in range(recipe.batch_size)], tokenizer)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        progress.update(bar, advance=1, loss=losses[-1])
    return losses


@torch.no_grad()
def completions(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str], *, sampled: bool
) -> list[str]:
    """Returns one completion a prompt, greedy or drawn at temperature 1."""
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
    drawn = {"do_sample": True, "temperature": 1.0, "top_k": 0} if sampled else {"do_sample": False}
    generator: Any = model  # the library's own annotation of generate() does not accept its own models
    tokens = generator.generate(**inputs, **drawn, max_new_tokens=MAX_NEW_TOKENS)
    texts: list[str] = tokenizer.batch_decode(
        tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    return texts


def measure(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, numbers: int, prompts: int
) -> Accuracy:
    """Returns the held-out accuracy of a model on problems of 3 or 4 numbers."""
    task = build_task("countdown", {"numbers": numbers, "held_out_rows": prompts, "train_rows": 16})
    rows = task.rows().held_out
    verifier = build_verifier("countdown", {})

    def share(sampled: bool) -> float:
        texts = completions(model, tokenizer, [row["prompt"] for row in rows], sampled=sampled)
        return sum(verifier(text, row).score for text, row in zip(texts, rows, strict=True)) / len(rows)

    return Accuracy(numbers=numbers, greedy=share(False), sampled=share(True), prompts=len(rows))


def model_card(recipe: Recipe, accuracies: Sequence[Accuracy], parameters: int) -> str:
    """Returns the README of the model folder."""
    table = "\n".join(
        f"| {row.numbers} numbers | {row.greedy:.1%} | {row.sampled:.1%} | {row.prompts} |"
        for row in accuracies
    )
    numbers = " and ".join(map(str, recipe.numbers))
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# tiny-base

A Llama of {parameters:,} parameters that answers countdown problems, sometimes rightly: the starting point of
`examples/quickstart.yaml`. Prompt `2 6 8 4>08:`, answer `6*2=12,12-8=4,4+4=8`: reach 8 by combining all
numbers, one step at a time. One token a character ({SYMBOLS!r} and {", ".join(SPECIALS)}).

Made by `examples/make_tiny_base.py` from nothing: {recipe.steps} steps of {recipe.batch_size} random
solutions with {numbers} numbers, AdamW at {recipe.learning_rate:g}, seed {recipe.seed}.

| held-out problems | right, greedy | right, temperature 1 | prompts |
|---|---|---|---|
{table}

Held out are whole sets of numbers (22.5 %), the same that the task `countdown` holds out.
"""


def save(
    folder: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    facts: dict[str, Any],
    card: str,
) -> None:
    """Writes the Hugging Face folder, its card, and what the training measured."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def bars(console: Console) -> Progress:
    """Returns the progress display."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("loss {task.fields[loss]:.3f}"), console=console)


def make(recipe: Recipe, folder: Path, *, prompts: int) -> None:
    """Trains, measures, prints the figures and saves."""
    console, started = Console(), time.monotonic()
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, recipe.seed)
    with bars(console) as progress:
        losses = warm_start(model, tokenizer, recipe, progress)
    seconds = time.monotonic() - started
    accuracies = [measure(model, tokenizer, numbers=n, prompts=prompts) for n in recipe.numbers]
    for row in accuracies:
        console.print(f"{row.numbers} numbers: {row.greedy:.1%} greedy, {row.sampled:.1%} at temperature 1")
    facts = {"recipe": asdict(recipe), "loss": {"first": losses[0], "last": losses[-1]}}
    save(
        folder,
        model,
        tokenizer,
        {**facts, "held_out": [asdict(row) for row in accuracies]},
        model_card(recipe, accuracies, model.num_parameters()),
    )
    console.print(f"{seconds:.0f} s of warm-start; saved in {folder}")


def main(
    output: Annotated[Path, typer.Option(help="Folder to write.")] = FOLDER,
    numbers: Annotated[list[int] | None, typer.Option(help="3 or 4; twice for both (the default).")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the warm-start.")] = STEPS,
    seed: Annotated[int, typer.Option(min=0, help="Fixes the weights and the problems.")] = 0,
    prompts: Annotated[int, typer.Option(min=16, help="Held-out problems to measure on.")] = 1024,
) -> None:
    """Makes a tiny base model for countdown problems."""
    # One thread: faster for a model of this size, and the same sums on every machine of a kind.
    torch.set_num_threads(1)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    chosen = tuple(sorted(set(numbers or (3, 4))))
    if not set(chosen) <= {3, 4}:
        raise typer.BadParameter("numbers are 3 or 4")
    make(Recipe(numbers=chosen, steps=steps, seed=seed), output, prompts=prompts)


if __name__ == "__main__":
    typer.run(main)
