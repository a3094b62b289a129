"""A trial through the real trainer, and the line that is kept of it."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.evidence.trial import GROUP, Trial
from espo_contracts.events import Event, Metrics
from espo_core.errors import EspoError
from espo_core.trainer import RunInputs, Trainer

Line = dict[str, Any]
BIN = 5
"""Steps that one value of the slow metrics averages: a tenth of the size, and nothing lost to the plots."""
BINNED = {
    "clip": "policy/clip_fraction",
    "clip_low": "policy/clip_fraction_low",
    "clip_high": "policy/clip_fraction_high",
    "utilisation": "policy/gradient_utilisation",
    "entropy": "policy/entropy",
    "kl": "policy/approx_kl",
    "length": "rollout/length_mean",
    "flat": "reward/zero_variance_fraction",
}


def execute(trial: Trial, model: Path, *, code: str) -> Line:
    """Runs a trial; returns its line. A run that breaks off leaves a line with `error`: it counts."""
    metrics: list[Metrics] = []

    def listen(event: Event) -> None:
        if isinstance(event, Metrics):
            metrics.append(event)

    started, error = time.monotonic(), None
    with tempfile.TemporaryDirectory() as folder:
        inputs = RunInputs(spec=trial.spec(), work_dir=Path(folder), model=model)
        try:
            Trainer(inputs, listen).run()
        except EspoError as problem:
            error = f"{type(problem).__name__}: {problem}"
    facts = {"code": code, "seconds": round(time.monotonic() - started, 1), "error": error}
    return {"key": trial.key, **asdict(trial), **facts, **_measured(metrics)}


def _measured(metrics: Sequence[Metrics]) -> Line:
    steps = [one.values for one in metrics if one.step]
    if not steps:
        return {}
    last = steps[-1]
    return {
        "reward": [_short(values["reward/mean"]) for values in steps],
        "rollouts": GROUP * round(sum(values["rollout/prompts_sampled"] or 0 for values in steps)),
        "curves": {name: _binned(steps, metric) for name, metric in BINNED.items()},
        "held_out": _short(last.get("held_out/greedy")),
        "prompts": last.get("held_out/prompts"),
    }


def _binned(steps: Sequence[dict[str, float | None]], metric: str) -> list[float | None]:
    values = [step.get(metric) for step in steps]
    return [_mean(values[start : start + BIN]) for start in range(0, len(values), BIN)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _short(statistics.fmean(known)) if known else None


def _short(value: float | None) -> float | None:
    """Five significant digits keep a line small."""
    return None if value is None else float(f"{value:.5g}")
