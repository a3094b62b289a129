"""The campaign's jobs: a few seconds each, every one with weights of its own and so with bytes to move."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

STEPS = 40
ALGORITHMS = ("espo", "gspo", "grpo", "dapo", "sapo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A job to submit: its document, and the rows of its data file if it brings one."""

    seed: int
    document: dict[str, Any]
    rows: tuple[dict[str, str], ...] = ()

    def write_rows(self, folder: Path) -> Path:
        """The data file."""
        path = folder / f"rows-{self.seed}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return path

    def with_file(self, file: str) -> dict[str, Any]:
        """The document, with the file's id or path where it brings one."""
        return self.document | {"data": {"file": file}} if self.rows else self.document


def plan(seed: int) -> Plan:
    """The job of a seed: every second one reads an uploaded file, and the algorithms take turns."""
    rng = Random(seed)
    document: dict[str, Any] = {
        "name": f"chaos-{seed}",
        "seed": seed,
        "model": {"name": "tiny-base"},
        "data": {"task": {"name": "countdown", "parameters": {"numbers": 3}}},
        "reward": [{"verifier": "countdown"}, {"verifier": "length", "parameters": _LENGTH}],
        "algorithm": {"name": ALGORITHMS[seed % len(ALGORITHMS)]},
        "rollout": {"group_size": 4, "prompts_per_step": 4, "max_new_tokens": 16},
        "optimiser": {"learning_rate": 2e-4, "mini_batches": 2},
        "schedule": {"steps": STEPS, "checkpoint_every": rng.choice((3, 5, 8)), "keep": 3},
        "resources": {"device": "cpu", "cpu_threads": 1},
    }
    if seed % 2 == 0:
        return Plan(seed=seed, document=document)
    rows = tuple({"prompt": f"{rng.randint(1, 99)} {rng.randint(1, 99)}>"} for _ in range(64))
    return Plan(seed=seed, document=document | {"reward": document["reward"][1:]}, rows=rows)


_LENGTH = {"full_until": 0, "zero_from": 24}
