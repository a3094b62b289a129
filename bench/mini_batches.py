"""Whether whole groups in a mini-batch learn as well as shuffled responses, which share no prompts.

The trainer keeps the responses to a prompt together, because what they begin with is then computed once.
Others shuffle them over the mini-batches. Here the same jobs run both ways with the same seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import torch
from rich.progress import track

from bench.evidence.statistics import paired
from espo_contracts.events import Event, Metrics
from espo_contracts.job import JobSpec
from espo_core.experience import Experience
from espo_core.forest import Ints
from espo_core.jobfile import find_job_model, read_job
from espo_core.learner import Learner
from espo_core.randomness import derived_seed
from espo_core.setup import Run
from espo_core.trainer import RunInputs, Trainer

JOB = Path("examples/countdown3.yaml")


class ShuffledLearner(Learner):
    """The same, with the responses of a step spread over its mini-batches."""

    def _mini_batches(self, experience: Experience, step: int) -> Iterator[Ints]:
        for epoch in range(self.spec.epochs):
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "shuffled", step, epoch))
            order = torch.randperm(len(experience.lengths), generator=generator)
            yield from (part.sort().values.numpy() for part in order.tensor_split(self.spec.mini_batches))


class ShuffledTrainer(Trainer):
    """A trainer with that learner."""

    def _start(self) -> Run:
        run = super()._start()
        given = {one.name: getattr(run.learner, one.name) for one in fields(run.learner)}
        run.learner = ShuffledLearner(**given)
        return run


def figures(trainer: type[Trainer], spec: JobSpec) -> tuple[float, float]:
    """Mean reward of all steps and held-out accuracy after the last."""
    events: list[Event] = []
    with tempfile.TemporaryDirectory() as folder:
        inputs = RunInputs(spec=spec, work_dir=Path(folder), model=find_job_model(spec))
        trainer(inputs, events.append).run()
    told = [event.values for event in events if isinstance(event, Metrics)]
    rewards = [float(values["reward/mean"] or 0) for values in told if "reward/mean" in values]
    return sum(rewards) / len(rewards), float(told[-1]["held_out/greedy"] or 0)


def main() -> None:
    """Prints the paired differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python -m bench.mini_batches --seeds 8 --steps 60"
    )
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    spec, _ = read_job(JOB)
    schedule = spec.schedule.model_copy(
        update={"steps": options.steps, "evaluate_every": 0, "checkpoint_every": 0, "samples_per_step": 0}
    )
    differences: list[tuple[float, float]] = []
    for seed in track(range(options.seeds), description="pairs of runs"):
        job = spec.model_copy(update={"seed": seed, "schedule": schedule})
        whole, shuffled = figures(Trainer, job), figures(ShuffledTrainer, job)
        differences.append((whole[0] - shuffled[0], whole[1] - shuffled[1]))
    for name, values in zip(
        ("mean reward", "held-out accuracy"), zip(*differences, strict=True), strict=True
    ):
        found = paired(values)
        difference = f"{found.mean:+.4f} ± {found.half_width:.4f}"
        print(f"whole groups - shuffled responses, {name}: {difference}, {found.n} pairs")


if __name__ == "__main__":
    main()
