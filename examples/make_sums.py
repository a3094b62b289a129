"""Makes `examples/data/sums.jsonl`: small sums as chat messages, for `examples/smollm2.yaml`.

    python examples/make_sums.py

A line: {"messages": [{"role": "user", "content": "What is 7 + 5? …"}], "answer": "12"}. All questions are
distinct, so any part held out is new; the order is random, so a held-out part taken from it is a fair sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer

FOLDER = Path(__file__).with_name("data")
OUTPUT = FOLDER / "sums.jsonl"
ASK = "Answer with the number only."
PLAIN = ("What is {a} {operator} {b}?", "Calculate {a} {operator} {b}.")
STORIES = {
    "+": (
        "Ana has {a} apples and gets {b} more. How many apples has she now?",
        "A bus carries {a} people and {b} more get on. How many people are on the bus?",
        "Tom read {a} pages yesterday and {b} pages today. How many pages did he read?",
    ),
    "-": (
        "Ben had {a} coins and gave away {b}. How many coins are left?",
        "There are {a} birds on a tree and {b} fly away. How many birds stay?",
        "A rope is {a} metres long and {b} metres are cut off. How many metres are left?",
    ),
    "*": (
        "There are {a} boxes with {b} pens in each. How many pens are there?",
        "Mia walks {b} kilometres a day for {a} days. How many kilometres does she walk?",
    ),
}


def problem(random: Random) -> tuple[str, int]:
    """Returns a question and its answer, one- or two-digit numbers, never negative."""
    operator = random.choice("+-*")
    largest = 9 if operator == "*" else random.choice((9, 50))
    a, b = random.randint(2, largest), random.randint(2, largest)
    if operator == "-":
        a, b = max(a, b), min(a, b)
    answer = {"+": a + b, "-": a - b, "*": a * b}[operator]
    form = random.choice((*PLAIN, *STORIES[operator]))
    return form.format(a=a, b=b, operator="x" if operator == "*" else operator), answer


def rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yields distinct problems as chat messages with the answer as text."""
    random = Random(f"sums/{seed}")
    seen: set[str] = set()
    while len(seen) < count:
        question, answer = problem(random)
        if question not in seen:
            seen.add(question)
            message = {"role": "user", "content": f"{question} {ASK}"}
            yield {"messages": [message], "answer": str(answer)}


def main(
    output: Annotated[Path, typer.Option(help="File to write.")] = OUTPUT,
    count: Annotated[int, typer.Option(min=1, max=2000, help="Number of problems.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the problems.")] = 0,
) -> None:
    """Makes small sums as chat messages."""
    output.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in rows(count, seed)]
    output.write_text("".join(lines), encoding="utf-8")
    typer.echo(f"{len(lines)} problems in {output}")


if __name__ == "__main__":
    typer.run(main)
