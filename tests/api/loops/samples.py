"""Events that a run may emit."""

from __future__ import annotations

from espo_contracts.events import Checkpoint, FileEntry, Finished, Metrics, Sample, Started

STARTED = Started(total_steps=100, device="cpu", parameters=10, trainable_parameters=10)
FINISHED = Finished(step=100)


def resumed(step: int) -> Started:
    return STARTED.model_copy(update={"resumed_from": step})


def ended(outcome: str) -> Finished:
    return Finished.model_validate({"outcome": outcome, "step": 3})


def metrics(step: int, **values: float) -> Metrics:
    return Metrics(
        step=step, values={f"reward/{name}": value for name, value in {"mean": 0.5, **values}.items()}
    )


def sample(step: int) -> Sample:
    return Sample(
        step=step,
        group=0,
        prompt="1 2>3:",
        completion="1+2=3",
        reward=1.0,
        reward_parts={"countdown": 1.0},
        is_verified=True,
        is_truncated=False,
        advantage=0.5,
    )


def checkpoint(step: int, sha256: str, *, mean: float | None = None) -> Checkpoint:
    files = [FileEntry(name="model.safetensors", size=3, sha256=sha256)]
    return Checkpoint(step=step, files=files, metrics={} if mean is None else {"reward/mean": mean})
