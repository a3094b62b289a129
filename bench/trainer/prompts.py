"""The prompts of a work, and their reward, which is the same object on both sides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from bench.trainer.models import END, SYMBOLS, some_sum, sums_text
from bench.trainer.works import SEED, ModelKind, Work
from espo_contracts.spec import RewardPart

Row = dict[str, Any]


def rows_of(work: Work) -> list[Row]:
    """Distinct prompts, enough for all rollouts of the work.

    Raises:
        SystemExit: there are not so many.
    """
    wanted = (work.warm_up + work.rounds + 1) * work.prompts
    made = islice(_SOURCES[work.model](work, Random(SEED)), 50 * wanted)
    rows = list({row["prompt"]: row for row in made}.values())
    if len(rows) < wanted:
        raise SystemExit(f"({work.name}) has only {len(rows)} distinct prompts: ask for fewer rounds")
    return rows[:wanted]


def reward_of(work: Work) -> RewardPart:
    """A sum must be right; of other text the words are counted, so that every group has contrast."""
    if work.model == "sums":
        return RewardPart(verifier="exact")
    words = {"unit": "words", "full_until": 0, "zero_from": work.max_new_tokens}
    return RewardPart(verifier="length", parameters=words)


def write_rows(rows: list[Row], path: Path) -> None:
    """Writes a row a line, as JSON."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """The rows of such a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _random_text(work: Work, random: Random) -> Iterator[Row]:
    symbols = SYMBOLS.replace(END, "")
    while True:
        yield {"prompt": "".join(random.choices(symbols, k=work.prompt_tokens)), "answer": ""}


def _sums(work: Work, random: Random) -> Iterator[Row]:
    """Yields a sum, after others with their answers where the prompt is longer than a sum."""
    while True:
        asked, answer = some_sum(random)
        room = work.prompt_tokens - len(asked) - 1
        before = sums_text(random, length=room)[-room:] if room else ""
        yield {"prompt": f"{before}{asked}=", "answer": answer}


def _questions(work: Work, random: Random) -> Iterator[Row]:
    while True:
        a, b = random.randint(10, 99), random.randint(10, 99)
        yield {"prompt": f"Question: What is {a} + {b}?\nAnswer:", "answer": str(a + b)}


_SOURCES: dict[ModelKind, Callable[[Work, Random], Iterator[Row]]] = {
    "hidden-192": _random_text,
    "hidden-128": _random_text,
    "llama-700m": _random_text,
    "sums": _sums,
    "smollm2": _questions,
}
