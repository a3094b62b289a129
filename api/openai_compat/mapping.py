"""The JobSpec document of a fine-tuning request."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from api.errors import invalid
from api.jobs.control import merged
from api.openai_compat.request import CreateFineTuningJob, Hyperparameters
from espo_contracts.rollout import RolloutSpec
from espo_contracts.spec import HeldOut, OptimiserSpec

_CHECKPOINT = re.compile(r"(job-[0-9a-f]{32}):(\d{1,8})")
_LARGEST_STEPS = 10_000_000


def job_document(request: CreateFineTuningJob, *, rows: int) -> dict[str, Any]:
    """What the request asks for as a document of `POST /v1/jobs`; `rows` are those of its training file.

    Raises:
        DomainError: `espo` is nested too deeply, or has what JSON has not.
    """
    document: dict[str, Any] = {
        "name": request.suffix or "fine-tune",
        "model": _model(request.model),
        "data": {"file": request.training_file},
        **_sections(request.chosen),
    }
    if request.seed is not None:
        document["seed"] = request.seed
    if request.method is not None:
        grader = request.method.reinforcement.grader.model_dump(mode="json")
        document["reward"] = [{"verifier": "grader", "parameters": {"grader": grader}}]
    return _finished(_plain(merged(document, request.espo)), request.chosen, rows)


def _plain(document: Any) -> dict[str, Any]:
    """The document once through JSON, which refuses NaN and infinities."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    except ValueError as error:
        raise invalid("espo", str(error)) from None
    return plain


def _model(name: str) -> dict[str, Any]:
    if found := _CHECKPOINT.fullmatch(name):
        return {"checkpoint": {"job": found[1], "step": int(found[2])}}
    return {"hub": {"id": name}} if "/" in name else {"name": name}


def _sections(chosen: Hyperparameters) -> dict[str, Any]:
    """The parts of a job that single hyperparameters say outright."""
    prompts, evaluate = _number(chosen.batch_size), _number(chosen.eval_interval)
    samples = _number(chosen.eval_samples)
    rate, compute = _number(chosen.learning_rate_multiplier), _number(chosen.compute_multiplier)
    group = None if compute is None else max(2, round(RolloutSpec().group_size * compute))
    return {
        "rollout": _given(prompts_per_step=prompts, group_size=group),
        "optimiser": _given(learning_rate=None if rate is None else rate * OptimiserSpec().learning_rate),
        "schedule": _given(evaluate_every=evaluate, evaluate_samples=samples),
    }


def _number(value: Any) -> Any:
    return None if value == "auto" else value


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _finished(document: dict[str, Any], chosen: Hyperparameters, rows: int) -> dict[str, Any]:
    """The document with what follows from several of its parts, where it does not say it itself."""
    prompts = _whole(document, "rollout", "prompts_per_step") or RolloutSpec().prompts_per_step
    optimiser, schedule = document.get("optimiser"), document.get("schedule")
    if isinstance(optimiser, dict) and prompts < OptimiserSpec().mini_batches:
        optimiser.setdefault("mini_batches", prompts)
    epochs = _number(chosen.n_epochs)
    if isinstance(schedule, dict) and epochs is not None:
        steps = math.ceil(epochs * rows * (1 - _held_out(document)) / prompts)
        schedule.setdefault("steps", min(max(1, steps), _LARGEST_STEPS))
    return document


def _whole(document: Mapping[str, Any], part: str, name: str) -> int | None:
    section = document.get(part)
    value = section.get(name) if isinstance(section, dict) else None
    return value if type(value) is int and value > 0 else None


def _held_out(document: Mapping[str, Any]) -> float:
    data = document.get("data")
    held_out = data.get("held_out") if isinstance(data, dict) else None
    fraction = held_out.get("fraction") if isinstance(held_out, dict) else None
    if isinstance(fraction, int | float) and 0 <= fraction <= 0.5:
        return float(fraction)
    return HeldOut().fraction
