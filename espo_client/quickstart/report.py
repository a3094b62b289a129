"""What a run comes to: a table for people and `summary.json` for programs."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from rich.table import Table

from espo_client.quickstart.evaluation import Accuracy, HeldOut

BASE, TRAINED = "base", "trained"


class Seconds(BaseModel):
    """Wall times: of the training alone, and of everything."""

    train: float
    total: float


class Summary(BaseModel):
    """The content of `summary.json`; other programs rely on its names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_id: str
    checkpoint: str
    plot: str
    seconds: Seconds
    held_out: dict[str, HeldOut]


def write_summary(summary: Summary, path: Path) -> None:
    """Writes the file beside its place and moves it there when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(summary.model_dump(), indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def comparison(held_out: dict[str, HeldOut]) -> Table:
    """Accuracy before and after, with 95 % intervals."""
    count = held_out[TRAINED].greedy.n
    table = Table(title=f"Accuracy on {count} held-out prompts (95 % interval)", title_justify="left")
    for column in ("", "base model", "trained model", "change"):
        table.add_column(column, justify="left" if not column else "right")
    for kind in ("greedy", "sampled"):
        before, after = _find(held_out, BASE, kind), _find(held_out, TRAINED, kind)
        table.add_row(kind, _cell(before), _cell(after), _change(before, after))
    return table


def verdict(held_out: dict[str, HeldOut]) -> str:
    """Whether training helped, in one sentence; empty without a base to compare with."""
    before, after = _find(held_out, BASE, "greedy"), _find(held_out, TRAINED, "greedy")
    if before is None or after is None:
        return ""
    if after.low > before.high:
        return "The model is better than before: the 95 % intervals do not touch."
    if after.mean > before.mean:
        return "The model looks better than before, but the 95 % intervals overlap."
    return "The model did not get better."


def _find(held_out: dict[str, HeldOut], model: str, kind: str) -> Accuracy | None:
    found = held_out.get(model)
    if found is None:
        return None
    return found.greedy if kind == "greedy" else found.sampled


def _cell(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "not evaluated"
    return f"{accuracy.mean:.1%} ({accuracy.low:.1%} to {accuracy.high:.1%})"


def _change(before: Accuracy | None, after: Accuracy | None) -> str:
    if before is None or after is None:
        return ""
    points = 100 * (after.mean - before.mean)
    color = "green" if after.low > before.high else "yellow"
    return f"[{color}]{points:+.1f} points[/]"
