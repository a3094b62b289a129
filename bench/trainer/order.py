"""What a child process is told to do, and the job that it means for our trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.trainer.prompts import Row, read_rows, reward_of
from bench.trainer.works import BETA1, BETA2, LEARNING_RATE, MAX_GRADIENT_NORM, SEED, Work
from espo_contracts.job import JobSpec
from espo_core.samplers import build_sampler
from espo_core.trainer import RunInputs

ENDLESS = 1_000_000
"""Steps of the job: more than anyone asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A work with its files and the core to do it on."""

    work: Work
    model: Path
    rows: Path
    scratch: Path
    core: int

    def document(self, role: str) -> dict[str, Any]:
        """As JSON, for a child with this role."""
        paths = {name: str(getattr(self, name)) for name in ("model", "rows", "scratch")}
        return {"role": role, "work": asdict(self.work), "core": self.core, **paths}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The order of such a document."""
        paths = {name: Path(given[name]) for name in ("model", "rows", "scratch")}
        return cls(work=Work(**given["work"]), core=given["core"], **paths)

    def spec(self) -> JobSpec:
        """The job: nothing but rollouts and updates."""
        return job_of(self.work)

    def inputs(self) -> RunInputs:
        """What our trainer needs."""
        return RunInputs(spec=self.spec(), work_dir=self.scratch, model=self.model, data_file=self.rows)

    def asked(self) -> list[Row]:
        """The rows in the order in which our trainer asks them."""
        rows = read_rows(self.rows)
        sampler = build_sampler(self.spec().rollout, prompts=len(rows), seed=SEED)
        return [rows[place] for place in sampler.next(len(rows))]


def job_of(work: Work, *, algorithm: str = "grpo") -> JobSpec:
    """The job of a work."""
    return JobSpec.model_validate(
        {
            "seed": SEED,
            "model": {"name": "bench", "autocast": work.device == "gpu"},
            "data": {
                "file": f"file-{'0' * 32}",
                "max_prompt_tokens": 4096,
                "held_out": {"fraction": 0, "max_prompts": 0},
            },
            "reward": [reward_of(work).model_dump()],
            "algorithm": {"name": algorithm},
            "rollout": {
                "group_size": work.group,
                "prompts_per_step": work.prompts,
                "max_new_tokens": work.max_new_tokens,
                "min_new_tokens": work.min_new_tokens,
            },
            "optimiser": {
                "learning_rate": LEARNING_RATE,
                "beta1": BETA1,
                "beta2": BETA2,
                "max_gradient_norm": MAX_GRADIENT_NORM,
                "mini_batches": work.mini_batches,
                "micro_batch_tokens": work.micro_batch_tokens,
            },
            "schedule": {"steps": ENDLESS, "checkpoint_every": 0, "samples_per_step": 0},
            "resources": {"cpu_threads": 1, "device": work.device, "compile": work.compiled},
        }
    )
