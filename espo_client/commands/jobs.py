"""Submitting, following and ending jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from espo_client import job_file
from espo_client.client import EspoClient
from espo_client.commands.arguments import LATEST, AsJson, Job, JobFilePath, Limit, job_id
from espo_client.console import age, err, out, print_json, print_table
from espo_client.display import bytes_display, estimate_lines
from espo_client.errors import JobFileError, RunError
from espo_client.records import Job as JobRow
from espo_client.records import JobDetail
from espo_client.watch import ending, watch
from espo_contracts.job import Desired, JobStatus


def submit(
    file: JobFilePath,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Follow the job to its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job. A local path in data.file is uploaded.

    \b
    espo submit examples/quickstart.yaml
    espo submit job.yaml --watch
    espo submit job.json --json | jq -r .id
    """
    job = job_file.load(file)
    with EspoClient.from_environment() as client:
        submitted = client.submit(job.with_uploads(lambda path: upload_file(client, path)))
        if as_json:
            print_json(submitted)
        else:
            out.print(f"{submitted.id}  {submitted.status.value}  {escape(submitted.name)}")
        if follow:
            finish(client, submitted.id)
        elif not as_json:
            err.print("Follow it with `espo watch`.", style="dim")


def validate(file: JobFilePath, as_json: AsJson = False) -> None:
    """Check a job file with the service; nothing is stored.

    \b
    espo validate job.yaml
    espo validate job.yaml --json | jq .resolved
    """
    job = job_file.load(file)
    with EspoClient.from_environment() as client:
        # Checked without its upload: the service would have to keep the file for a job that may never come.
        if job.data_file is not None:
            raise JobFileError(f"{file} is a valid job. Its data file is checked when it is uploaded.")
        answer = client.validate(job.document)
    if as_json:
        print_json(answer)
        return
    if not answer.is_valid:
        raise JobFileError.of(file, answer.errors)
    out.print(f"{file} is a valid job.", style="green", markup=False, highlight=False)
    for line in estimate_lines(answer.estimate) if answer.estimate else ():
        out.print(f"  {line}", markup=False, highlight=False)


def follow(job: Job = LATEST) -> None:
    """Follow a job to its end: a live bar on a terminal, lines elsewhere.

    \b
    espo watch
    espo watch job-0123… 2> run.log
    """
    with EspoClient.from_environment() as client:
        finish(client, job_id(client, job))


def jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs of this status.")] = None,
    tag: Annotated[str, typer.Option(help="Only jobs with this tag.")] = "",
    algorithm: Annotated[str, typer.Option(help="Only jobs with this algorithm.")] = "",
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    \b
    espo jobs
    espo jobs --status running --tag night
    """
    given = {"status": status.value if status else "", "tag": tag, "algorithm": algorithm}
    filters = {name: value for name, value in given.items() if value}
    with EspoClient.from_environment() as client:
        found = list(client.jobs(limit=limit, **filters))
    if as_json:
        print_json(found)
        return
    columns = ("id", "status", "step", "reward", "age", "algorithm", "name")
    empty = "No jobs. `espo submit examples/quickstart.yaml` makes one."
    print_table(*columns, rows=(_row(job) for job in found), empty=empty)


def show(job: Job = LATEST, as_json: AsJson = False) -> None:
    """Show one job.

    \b
    espo show
    espo show job-0123… --json | jq .resolved
    """
    with EspoClient.from_environment() as client:
        found = client.get(job_id(client, job))
    if as_json:
        print_json(found)
        return
    out.print(f"{found.id}  {escape(found.name)}", style="bold", highlight=False)
    out.print(f"{found.model} · {found.algorithm} · {', '.join(found.tags) or 'no tags'}", highlight=False)
    out.print(ending(found) if found.status.is_terminal else _where(found), markup=False, highlight=False)
    figures = ((name, f"{value:.5g}") for name, value in sorted(found.latest.items()) if value is not None)
    print_table("metric", "latest", rows=figures, empty="No metrics yet.")


def finish(client: EspoClient, job: str) -> None:
    """Follows a job; leaves with a status of its own when the job did not succeed.

    Raises:
        RunError: saying how it ended.
    """
    ended = watch(client, job, err)
    if ended.status != JobStatus.SUCCEEDED:
        raise RunError(ending(ended))
    err.print(f"{ending(ended)} `espo download` fetches the model.", style="green", highlight=False)


def upload_file(client: EspoClient, path: Path) -> str:
    """The id of the file once the service has it."""
    with bytes_display(err, f"uploading {path.name}", path.stat().st_size) as on_bytes:
        return client.upload(path, on_bytes=on_bytes).id


def _row(job: JobRow) -> tuple[str, ...]:
    reward = job.latest.get("reward/mean")
    shown = "" if reward is None else f"{reward:.3f}"
    step = f"{job.progress.step}/{job.progress.total_steps}"
    return job.id, job.status.value, step, shown, age(job.created_at), job.algorithm, escape(job.name)


def _where(job: JobDetail) -> str:
    wish = f", {job.desired.value} wanted" if job.desired != Desired.RUN else ""
    reason = f" ({job.waiting_reason})" if job.waiting_reason else ""
    progress = job.progress
    return f"{job.status.value}{wish}{reason}: step {progress.step} of {progress.total_steps}"
