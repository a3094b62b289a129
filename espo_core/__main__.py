"""Runs a job file without the service, and evaluates models.

python -m espo_core examples/quickstart.yaml
python -m espo_core examples/quickstart.yaml --output /tmp/run --resume
python -m espo_core evaluate --model /tmp/run/checkpoint-350 --job examples/quickstart.yaml
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from espo_core.checkpoint import newest_checkpoint
from espo_core.distributed.launch import is_first_rank, needs_ranks, run_ranks
from espo_core.distributed.world import joined_world
from espo_core.errors import ConfigError, EspoError
from espo_core.intervals import Estimate
from espo_core.jobfile import data_home, find_job_model, read_job
from espo_core.progress import RunView
from espo_core.setup import prepare_evaluator
from espo_core.trainer import RunInputs, Trainer

# \b keeps the lines of the examples apart.
HELP = str(__doc__).replace("\n\n", "\n\n\b\n", 1)
app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
console = Console()

JobFile = Annotated[Path, typer.Argument(help="Job file, YAML or JSON.")]
Output = Annotated[
    Path | None,
    typer.Option(help="Folder for checkpoints and events.jsonl. Default: ESPO_HOME/runs/<job file>."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint of the folder.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Remove an earlier run from the folder first.")]
ModelFolder = Annotated[Path, typer.Option(help="Folder of the model, such as a checkpoint.")]
JobOption = Annotated[Path, typer.Option(help="Job whose held-out prompts and reward are used.")]
Prompts = Annotated[int | None, typer.Option(min=1, help="At most this many prompts. Default: the job's.")]
Samples = Annotated[int, typer.Option(min=0, max=1024, help="Sampled responses a prompt; 0 is greedy only.")]
JsonOut = Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")]


@app.command(epilog="Example: python -m espo_core train examples/quickstart.yaml --output /tmp/run")
def train(job: JobFile, output: Output = None, resume: Resume = False, overwrite: Overwrite = False) -> None:
    """Trains a job on this machine. The word `train` may be left out."""
    spec, file = read_job(job)
    folder = output or data_home() / "runs" / job.stem
    inputs = RunInputs(
        spec=spec,
        work_dir=folder,
        model=find_job_model(spec),
        data_file=file,
        resume=_start_of(folder, resume=resume, overwrite=overwrite),
    )
    if needs_ranks(spec.resources, os.environ):
        _run_together(spec.resources.devices, folder)
    else:
        _run(inputs)


def _run(inputs: RunInputs) -> None:
    with joined_world(inputs.spec.resources) as world:
        inputs = replace(inputs, world=world)
        if world.is_first:
            _run_seen(inputs)
        else:
            Trainer(inputs, lambda _: None).run()


def _run_together(devices: int, folder: Path) -> None:
    """Starts the same program again for each device."""
    with TemporaryDirectory() as notes:
        failed = run_ranks(devices, "espo_core", sys.argv[1:], folder=Path(notes))
    if failed:
        raise typer.Exit(1)


def _run_seen(inputs: RunInputs) -> None:
    folder = inputs.work_dir
    try:
        with RunView(console, folder, keep=inputs.spec.schedule.keep) as view:
            Trainer(inputs, view.emit).run()
    except KeyboardInterrupt:
        _say_where_to_go_on(folder)
        raise
    console.print(f"Done: {newest_checkpoint(folder)}", highlight=False, soft_wrap=True)


@app.command(
    epilog="Example: python -m espo_core evaluate --model run/checkpoint-350 --job examples/quickstart.yaml"
)
def evaluate(
    model: ModelFolder,
    job: JobOption,
    prompts: Prompts = None,
    samples: Samples = 1,
    json_out: JsonOut = None,
) -> None:
    """Accuracy of a model on a job's held-out prompts with 95 % intervals: greedy, the mean of sampled
    responses (avg@n), and the best of k of them (pass@k)."""
    spec, file = read_job(job)
    evaluator = prepare_evaluator(spec, model=model, data_file=file, prompts=prompts)
    results = evaluator.estimates(samples)
    console.print(_table(results, samples))
    if json_out is not None:
        json_out.write_text(json.dumps({name: asdict(one) for name, one in results.items()}, indent=2) + "\n")


def main(arguments: list[str]) -> int:
    """The exit status after running the arguments; a bad job or run ends with its reason and what to do."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in ("train", "evaluate"):
        arguments = ["train", *arguments]
    try:
        app(arguments, prog_name="python -m espo_core")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except EspoError as error:
        Console(stderr=True).print(f"error: {error.message}\n{error.hint}", markup=False, highlight=False)
        return 1
    return 0


def _start_of(folder: Path, *, resume: bool, overwrite: bool) -> Path | None:
    """The checkpoint to continue from, None for a start from the base model.

    Raises:
        ConfigError: there is none to resume, or there is a run that would be overwritten.
    """
    newest = newest_checkpoint(folder)
    if not is_first_rank(os.environ):
        return newest if resume else None  # the first makes room
    if resume and newest is None:
        raise ConfigError(f"{folder} holds no checkpoint to resume from", hint="Leave out --resume.")
    if not resume and newest is not None:
        if not overwrite:
            raise ConfigError(
                f"{folder} holds a run already", hint="Add --resume, --overwrite, or another --output."
            )
        shutil.rmtree(folder)
    return newest if resume else None


def _say_where_to_go_on(folder: Path) -> None:
    newest = newest_checkpoint(folder)
    what = f"--resume continues from {newest}" if newest else "before the first checkpoint"
    console.print(f"Stopped; {what}", highlight=False, soft_wrap=True)


def _table(results: dict[str, Estimate], samples: int) -> Table:
    table = Table("accuracy", "mean", "95 % interval", "prompts")
    for name, one in results.items():
        title = f"sampled, avg@{samples}" if name == "sampled" else name.replace("pass_at_", "pass@")
        table.add_row(title, f"{one.mean:.1%}", f"{one.low:.1%} to {one.high:.1%}", str(one.n))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
