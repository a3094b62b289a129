"""One run of the campaign: what is trained, its key, and the job that the real trainer gets."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from typing import Any

from bench.evidence.tasks import TASKS
from espo_contracts.job import JobSpec
from espo_contracts.validation import parse_job_spec

PROMPTS, GROUP = 32, 8
"""A rollout batch: 256 responses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """An algorithm with everything that was tuned for it."""

    algorithm: str
    parameters: dict[str, Any] = field(default_factory=dict)
    learning_rate: float = 2e-4
    is_dynamic: bool = False
    """Groups without contrast are sampled again (DAPO's dynamic sampling)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What paired runs share: base model, order of prompts, and the rollouts of the first step."""

    task: str
    base: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A run."""

    method: Method
    pair: Pair
    steps: int = 60
    mini_batches: int = 4
    epochs: int = 1
    max_prompts: int = 4096
    """At most this many held-out prompts are answered at the end."""

    @property
    def key(self) -> str:
        """Hash of all that decides the result; a line of this key is never made twice."""
        parts = {"method": _values(self.method), "pair": _values(self.pair)}
        text = json.dumps(_values(self) | parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def rollouts(self) -> int:
        """Responses sampled in the run where dynamic sampling adds none."""
        return self.steps * PROMPTS * GROUP

    def spec(self) -> JobSpec:
        """The job."""
        task = TASKS[self.pair.task]
        return parse_job_spec(
            {
                "name": "evidence",
                "seed": self.pair.seed,
                "model": {"name": self.pair.base},
                "data": {
                    "task": {"name": task.name, "parameters": task.parameters},
                    "held_out": {"max_prompts": self.max_prompts},
                },
                "reward": [{"verifier": task.verifier}],
                "algorithm": {"name": self.method.algorithm, "parameters": self.method.parameters},
                "rollout": self._rollout(task.max_new_tokens),
                "optimiser": {
                    "learning_rate": self.method.learning_rate,
                    "mini_batches": self.mini_batches,
                    "epochs": self.epochs,
                },
                "schedule": {"steps": self.steps, "checkpoint_every": 0, "samples_per_step": 0},
            }
        )

    def _rollout(self, max_new_tokens: int) -> dict[str, Any]:
        return {
            "group_size": GROUP,
            "prompts_per_step": PROMPTS,
            "max_new_tokens": max_new_tokens,
            "dynamic_sampling": self.method.is_dynamic,
        }


def _values(record: Method | Pair | Trial) -> dict[str, Any]:
    """The fields; `asdict` copies them deeply, which takes longer than all the rest of a plan."""
    return {one.name: getattr(record, one.name) for one in fields(record)}
