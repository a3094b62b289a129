"""Wishes for a job that exists: cancel, pause, resume, retry, and another one like it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml
from rich.markup import escape

from espo_client.client import EspoClient
from espo_client.commands.arguments import AsJson
from espo_client.console import out, print_json
from espo_client.errors import EspoClientError
from espo_client.records import JobDetail
from espo_contracts.job import Desired
from espo_contracts.yaml_document import parse_yaml

Job = Annotated[str, typer.Argument(help="Id of a job.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="A field of the copy, by its path. `null` gives the default back."),
]


def cancel(job: Job) -> None:
    """Cancel a job; it ends within seconds and keeps its checkpoints.

    \b
    espo cancel job-0123…
    """
    with EspoClient.from_environment() as client:
        _show(client.cancel(job))


def pause(job: Job) -> None:
    """Pause a job: it saves its last step and leaves its worker to others.

    \b
    espo pause job-0123…
    """
    with EspoClient.from_environment() as client:
        _show(client.pause(job))


def resume(job: Job) -> None:
    """Resume a paused job, exactly where it stopped.

    \b
    espo resume job-0123…
    """
    with EspoClient.from_environment() as client:
        _show(client.resume(job))


def retry(job: Job) -> None:
    """Have a job that failed or was cancelled go on from its newest checkpoint.

    \b
    espo retry job-0123…
    """
    with EspoClient.from_environment() as client:
        _show(client.retry(job))


def clone(job: Job, changes: Changes = None, as_json: AsJson = False) -> None:
    """Submit the same job again, with other values where you say so.

    \b
    espo clone job-0123…
    espo clone job-0123… --set seed=2 --set optimiser.learning_rate=1e-4
    """
    patch = merge_patch(changes or [])
    with EspoClient.from_environment() as client:
        made = client.clone(job, patch)
    if as_json:
        print_json(made)
    else:
        out.print(f"{made.id}  {made.status.value}  {escape(made.name)}", highlight=False)


def merge_patch(changes: list[str]) -> dict[str, Any]:
    """The JSON merge patch of assignments such as `optimiser.learning_rate=1e-4`.

    Raises:
        EspoClientError: one is no assignment, or two contradict each other.
    """
    patch: dict[str, Any] = {}
    for change in changes:
        path, is_assignment, text = change.partition("=")
        *parents, name = path.split(".")
        place = patch
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise EspoClientError(f"--set {change}: {parent} has a value already.")
        if not (is_assignment and all((*parents, name))):
            raise EspoClientError(f"--set {change}: write it as optimiser.learning_rate=1e-4.")
        place[name] = _value(text)
    return patch


def _value(text: str) -> Any:
    """What the text is in a job file; text where it is nothing there."""
    try:
        return parse_yaml(text)
    except yaml.YAMLError:
        return text


def _show(job: JobDetail) -> None:
    wish = f", {job.desired.value} wanted" if job.desired != Desired.RUN else ""
    out.print(f"{job.id}  {job.status.value}{wish}", highlight=False)
