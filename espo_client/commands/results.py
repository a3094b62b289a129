"""What a run left behind: figures, responses, logs, events and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from espo_client.client import EspoClient
from espo_client.commands.arguments import LATEST, AsJson, Job, Limit, job_id
from espo_client.console import age, clock, err, out, print_json, print_json_line, print_table, size
from espo_client.display import bytes_display
from espo_client.records import Checkpoint, Curve, Event

SHOWN = ("reward/mean", "policy/clip_fraction", "policy/entropy", "held_out/greedy")
Step = Annotated[str, typer.Option(help="Step of the checkpoint, or `latest`, or `best`.")]


def metrics(
    job: Job = LATEST,
    names: Annotated[str, typer.Option(help="Names, by comma.")] = ",".join(SHOWN),
    since_step: Annotated[int | None, typer.Option(help="Only later steps.")] = None,
    max_points: Annotated[int, typer.Option(min=3, help="Thin the curves to this many points.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Print figures by step.

    \b
    espo metrics
    espo metrics job-0123… --names reward/mean,policy/ratio_max --json
    """
    wanted = [name for name in names.split(",") if name]
    with EspoClient.from_environment() as client:
        found = client.metrics(
            job_id(client, job), names=wanted, since_step=since_step, max_points=max_points
        )
    if as_json:
        print_json(found)
        return
    print_table("step", *wanted, rows=_by_step(found, wanted), empty="No metrics yet.")


def samples(
    job: Job = LATEST,
    step: Annotated[int | None, typer.Option(help="Only this step.")] = None,
    limit: Limit = 16,
    as_json: AsJson = False,
) -> None:
    """Print recorded responses with their rewards.

    \b
    espo samples
    espo samples job-0123… --step 100 --limit 4
    """
    with EspoClient.from_environment() as client:
        found = list(client.samples(job_id(client, job), step=step, limit=limit))
    if as_json:
        print_json(found)
        return
    for sample in found:
        mark = "[green]✓[/]" if sample.is_verified else "[red]✗[/]"
        out.print(f"{mark} step {sample.step}  reward {sample.reward:.3f}  advantage {sample.advantage:+.3f}")
        out.print(f"  [dim]{escape(sample.prompt)}[/] {escape(sample.completion)}", highlight=False)
    if not found:
        out.print("No samples yet.")


def logs(job: Job = LATEST, limit: Limit = 1000, as_json: AsJson = False) -> None:
    """Print the run's log lines.

    \b
    espo logs
    espo logs job-0123… --json
    """
    with EspoClient.from_environment() as client:
        for line in client.logs(job_id(client, job), limit=limit):
            if as_json:
                print_json_line(line)
                continue
            text = f"{clock(line.time)} {line.level:7} {line.message}"
            out.print(text, markup=False, highlight=False, soft_wrap=True)


def events(
    job: Job = LATEST,
    after: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the event log.

    \b
    espo events
    espo events job-0123… --follow --json
    """
    with EspoClient.from_environment() as client:
        wanted = job_id(client, job)
        found = client.events(wanted, after=after) if follow else client.past_events(wanted, after=after)
        for event in found:
            if as_json:
                print_json_line(event)
            else:
                out.print(_line(event), markup=False, highlight=False, no_wrap=True, overflow="ellipsis")


def checkpoints(job: Job = LATEST, as_json: AsJson = False) -> None:
    """List downloadable checkpoints.

    \b
    espo checkpoints
    """
    with EspoClient.from_environment() as client:
        found = client.checkpoints(job_id(client, job))
    if as_json:
        print_json(found)
        return
    columns = ("step", "size", "files", "held out", "age")
    print_table(*columns, rows=(_checkpoint(entry) for entry in found), empty="No checkpoints yet.")


def download(
    job: Job = LATEST,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="Folder; default: JOB-STEP here.")] = None,
    step: Step = "latest",
) -> None:
    """Download a checkpoint: a model folder for transformers. Goes on where it broke off.

    \b
    espo download
    espo download job-0123… --step best --to my-model
    """
    with EspoClient.from_environment() as client:
        wanted = job_id(client, job)
        found = client.checkpoint(wanted, step)
        target = to or Path(f"{wanted}-{found.step}")
        fetch_checkpoint(client, wanted, found, target)
    out.print(str(target), markup=False, highlight=False, soft_wrap=True)
    err.print(f'AutoModelForCausalLM.from_pretrained("{target}") loads it.', style="dim", highlight=False)


def plot(
    job: Job = LATEST,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="PNG file; default: JOB.png here.")] = None,
) -> None:
    """Draw reward, held-out accuracy, clip fraction and entropy.

    \b
    espo plot
    espo plot job-0123… --to run.png
    """
    # matplotlib takes longer to import than every other command to run.
    from espo_client.plot import write_plot

    with EspoClient.from_environment() as client:
        found = client.get(job_id(client, job))
        target = to or Path(f"{found.id}.png")
        write_plot(found, client.metrics(found.id, max_points=2000), target)
    out.print(str(target), markup=False, highlight=False, soft_wrap=True)


def fetch_checkpoint(client: EspoClient, job: str, checkpoint: Checkpoint, target: Path) -> None:
    """Downloads one checkpoint into `target` with a bar."""
    what = f"downloading the checkpoint of step {checkpoint.step}"
    with bytes_display(err, what, checkpoint.bytes) as on_bytes:
        client.download(job, target, step=checkpoint.step, on_bytes=on_bytes)


def _by_step(curves: dict[str, Curve], names: list[str]) -> Iterator[tuple[str, ...]]:
    """One row a step; a thinned curve leaves gaps."""
    columns = [dict(zip(*curves[name].finite(), strict=True)) if name in curves else {} for name in names]
    for step in sorted({step for column in columns for step in column}):
        yield str(step), *(_figure(column.get(step)) for column in columns)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _line(event: Event) -> str:
    step = "" if event.step is None else f"step {event.step} "
    return f"{event.id:>6} {clock(event.time)} {event.type:10} {step}{event.data}"


def _checkpoint(entry: Checkpoint) -> tuple[str, ...]:
    held_out = _figure(entry.metrics.get("held_out/greedy"))
    return str(entry.step), size(entry.bytes), str(len(entry.files)), held_out, age(entry.created_at)
