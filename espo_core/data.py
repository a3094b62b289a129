"""Training and held-out prompts of a job, from a generated task, a JSONL file or a hub dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from espo_contracts.spec import DataSpec, HeldOut, HubDataset
from espo_core.errors import DataError
from espo_core.prompts import Prompt, render
from espo_core.tasks import build_task
from espo_core.verifiers import Row

MAX_LINE_BYTES = 4 << 20
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptData:
    """The prompts of a job."""

    train: list[Prompt]
    held_out: list[Prompt]
    notes: list[str]
    """What people should know, such as how many prompts were too long."""


def load_data(
    spec: DataSpec,
    tokenizer: PreTrainedTokenizerBase,
    *,
    file: Path | None = None,
    columns: frozenset[str] = frozenset(),
) -> PromptData:
    """The prompts of a job; `columns` are those that its verifiers read.

    Raises:
        DataError: the data is empty, lacks a column, or no prompt fits.
    """
    train, held_out = _rows(spec, file)
    _check_columns(train, columns)
    held_out = held_out[: spec.held_out.max_prompts]
    notes: list[str] = []
    data = PromptData(
        train=_fitting(spec, render(spec, train, tokenizer), notes, what="training"),
        held_out=_fitting(spec, render(spec, held_out, tokenizer), notes, what="held-out"),
        notes=notes,
    )
    if not data.train:
        raise DataError(
            f"none of the {len(train)} training prompts fits into data.max_prompt_tokens = "
            f"{spec.max_prompt_tokens}",
            hint="Raise data.max_prompt_tokens, or shorten the prompts.",
        )
    return data


def _rows(spec: DataSpec, file: Path | None) -> tuple[Rows, Rows]:
    """Training and held-out rows."""
    if spec.task is not None:
        made = build_task(spec.task.name, spec.task.parameters).rows()
        return made.train, made.held_out
    rows = hub_rows(spec.hub) if spec.hub is not None else list(read_jsonl(_given(file)))
    if not rows:
        raise DataError("the data has no rows", hint="Give at least one row with a prompt.")
    return split(rows, spec.held_out)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a JSONL file; empty lines are skipped.

    Raises:
        DataError: a line is not a JSON object, with its number.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE_BYTES + 1), b""), start=1):
            if line.strip():
                yield _parsed(line, number)


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise DataError(f"line {number} is longer than {MAX_LINE_BYTES} bytes")
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(
            f"line {number} is not JSON: {error}", hint="Write one JSON object a line."
        ) from error
    if not isinstance(row, dict):
        raise DataError(f"line {number} is not a JSON object", hint="Write one JSON object a line.")
    return row


def hub_rows(hub: HubDataset) -> Rows:
    """Rows of a hub dataset, whose own code is never run.

    Raises:
        DataError: it cannot be loaded.
    """
    from datasets import load_dataset  # pandas and pyarrow with it: only where it is needed

    try:
        dataset = load_dataset(hub.id, hub.config, split=hub.split, revision=hub.revision)
    except Exception as error:  # the loader raises whatever its many readers raise
        raise DataError(
            f"hub dataset {hub.id!r} cannot be loaded: {str(error).strip()[:500]}",
            hint="Check its id, revision, config and split, and that the hub is reachable.",
        ) from error
    rows: Rows = dataset.to_list()
    return rows


def split(rows: Sequence[dict[str, Any]], held_out: HeldOut) -> tuple[Rows, Rows]:
    """Training and held-out rows, by a hash of the row: whatever their order, and equal rows on one side."""
    ranks = sorted({_hash(row) for row in rows})
    count = round(held_out.fraction * len(ranks))
    if held_out.fraction > 0 and len(ranks) > 1:
        count = max(1, count)
    chosen = set(ranks[:count])
    return (
        [row for row in rows if _hash(row) not in chosen],
        [row for row in rows if _hash(row) in chosen],
    )


def _hash(row: Row) -> bytes:
    return hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).digest()


def _check_columns(rows: Rows, columns: frozenset[str]) -> None:
    for number, row in enumerate(rows, start=1):
        missing = sorted(column for column in columns if column not in row)
        if missing:
            raise DataError(
                f"row {number} has no column {missing[0]!r}, which the reward reads; "
                f"its columns are {', '.join(sorted(row)) or 'none'}",
                hint="Name an existing column in the verifier's parameters, or add the column to every row.",
            )


def _fitting(spec: DataSpec, prompts: list[Prompt], notes: list[str], *, what: str) -> list[Prompt]:
    kept = [prompt for prompt in prompts if 0 < len(prompt.tokens) <= spec.max_prompt_tokens]
    if len(kept) < len(prompts):
        notes.append(
            f"{len(prompts) - len(kept)} of {len(prompts)} {what} prompts are empty or longer than "
            f"{spec.max_prompt_tokens} tokens and were dropped"
        )
    return kept


def _given(file: Path | None) -> Path:
    if file is None or not file.is_file():
        raise DataError(
            "the data file is missing", hint="Upload the file again and name its id in data.file."
        )
    return file
