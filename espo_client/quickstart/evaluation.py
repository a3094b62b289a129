"""Accuracy of models on the same held-out prompts, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from espo_client.errors import RunError
from espo_client.services.guarded import end_guarded, start_guarded


class Accuracy(BaseModel):
    """A mean over n prompts with its 95 % interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float
    low: float
    high: float
    n: int


class HeldOut(BaseModel):
    """Accuracy of one model: of its likeliest answer, and of sampled ones; an evaluation may tell more."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    greedy: Accuracy
    sampled: Accuracy


def evaluate(
    models: dict[str, Path], job: Path, environment: dict[str, str], console: Console
) -> dict[str, HeldOut]:
    """The accuracy of each model on the held-out prompts of the job; the models run side by side.

    Raises:
        RunError: an evaluation failed, with the end of what it printed.
    """
    what = f"evaluating {' and '.join(models)} on the held-out prompts"
    if not console.is_terminal:
        console.print(what)
    with TemporaryDirectory() as made, console.status(what):
        folder = Path(made)
        with _running(models, job, environment, folder) as guards:
            for name, guard in guards.items():
                _check(name, guard, folder)
        return {name: _result(_answer(folder, name)) for name in models}


@contextmanager
def _running(
    models: dict[str, Path], job: Path, environment: dict[str, str], folder: Path
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The evaluations' processes; whatever happens, none is left."""
    guards: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, model in models.items():
            with _log(folder, name).open("wb") as log:
                guards[name] = start_guarded(
                    _command(model, job, _answer(folder, name)),
                    environment=environment,
                    output=log,
                    grace_seconds=1.0,
                )
        yield guards
    finally:
        for guard in guards.values():
            end_guarded(guard, grace_seconds=1.0)


def _command(model: Path, job: Path, answer: Path) -> list[str]:
    command = [sys.executable, "-m", "espo_core", "evaluate", "--model", str(model), "--job", str(job)]
    return [*command, "--json", str(answer)]


def _log(folder: Path, name: str) -> Path:
    return folder / f"{name}.log"


def _answer(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _check(name: str, guard: subprocess.Popen[bytes], folder: Path) -> None:
    if guard.wait() != 0:
        tail = "\n".join(_log(folder, name).read_text(errors="replace").splitlines()[-15:])
        raise RunError(f"The evaluation of the {name} model ended with code {guard.returncode}:\n{tail}")


def _result(path: Path) -> HeldOut:
    return HeldOut.model_validate(json.loads(path.read_text(encoding="utf-8")))
