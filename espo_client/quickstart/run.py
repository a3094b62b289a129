"""One job from start to end: service, training, download, evaluation before and after, plot, summary."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from espo_client import job_file
from espo_client.client import EspoClient
from espo_client.commands.jobs import upload_file
from espo_client.commands.results import fetch_checkpoint
from espo_client.console import err, out
from espo_client.errors import EspoClientError, RunError
from espo_client.home import REPOSITORY, model_path
from espo_client.job_file import JobFile
from espo_client.plot import write_plot
from espo_client.quickstart.evaluation import HeldOut, evaluate
from espo_client.quickstart.report import BASE, TRAINED, Seconds, Summary, comparison, verdict, write_summary
from espo_client.quickstart.service import local_service
from espo_client.records import JobDetail
from espo_client.services.plan import environment
from espo_client.watch import ending, watch
from espo_contracts.job import JobStatus
from espo_contracts.models import find_model

# A cancelled run ends within two seconds; a worker that was just starting one needs longer.
CANCEL_SECONDS = 10.0


def run_job(file: Path, home: Path) -> None:
    """Leaves the run's result in `home/quickstart` and prints the comparison.

    Raises:
        EspoClientError: anything that went wrong, in words.
        KeyboardInterrupt: after the job was cancelled and everything was stopped.
    """
    began = time.monotonic()
    job = job_file.load(_in_clone(file))
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _termination_as_interrupt(), local_service(home, err) as client:
        trained = _train(client, job)
        folder = home / "quickstart" / trained.id
        fetch_checkpoint(client, trained.id, client.checkpoint(trained.id), folder / "checkpoint")
        write_plot(trained, client.metrics(trained.id, max_points=2000), folder / "plot.png")
        models = _models(client, trained, folder, home)
        held_out = evaluate(models, job.path.resolve(), environment(home, None), err)
    seconds = Seconds(train=_training_seconds(trained), total=time.monotonic() - began)
    _report(home, trained, seconds, held_out)


def _train(client: EspoClient, job: JobFile) -> JobDetail:
    """The job, succeeded; cancelled when the user interrupts.

    Raises:
        RunError: it ended otherwise.
    """
    submitted = client.submit(job.with_uploads(lambda path: upload_file(client, path)))
    err.print(f"Submitted {submitted.name} as {submitted.id}", markup=False, highlight=False)
    try:
        ended = watch(client, submitted.id, err)
    except KeyboardInterrupt:
        _cancel(client, submitted.id)
        raise
    if ended.status != JobStatus.SUCCEEDED:
        raise RunError(ending(ended))
    return ended


def _cancel(client: EspoClient, job_id: str) -> None:
    """Cancels the job and waits until it has ended; what fails here must not hide the interrupt."""
    err.print("Cancelling the job …")
    with contextlib.suppress(EspoClientError):
        client.cancel(job_id)
        deadline = time.monotonic() + CANCEL_SECONDS
        while not client.get(job_id).status.is_terminal and time.monotonic() < deadline:
            time.sleep(0.2)


def _models(client: EspoClient, job: JobDetail, folder: Path, home: Path) -> dict[str, Path]:
    """Folders of the models to compare; the hub's models stay with the worker and are left out."""
    models = {TRAINED: folder / "checkpoint"}
    base = job.resolved.get("model") or {}
    if base.get("name"):
        found = find_model(base["name"], model_path(home))
        return models if found is None else {BASE: found} | models
    if base.get("checkpoint"):
        earlier, step = base["checkpoint"]["job"], base["checkpoint"]["step"]
        fetch_checkpoint(client, earlier, client.checkpoint(earlier, step), folder / "base")
        return {BASE: folder / "base"} | models
    err.print("The base model is the hub's: only the trained model is evaluated.", style="yellow")
    return models


def _report(home: Path, job: JobDetail, seconds: Seconds, held_out: dict[str, HeldOut]) -> None:
    folder, summary = home / "quickstart" / job.id, home / "quickstart" / "summary.json"
    checkpoint, plot = str(folder / "checkpoint"), str(folder / "plot.png")
    write_summary(
        Summary(job_id=job.id, checkpoint=checkpoint, plot=plot, seconds=seconds, held_out=held_out), summary
    )
    out.print(comparison(held_out))
    out.print(verdict(held_out), style="bold")
    lines = (
        f"Model    {checkpoint}",
        f"Plot     {plot}",
        f"Summary  {summary}",
        f"Time     {seconds.train:.0f} s of training, {seconds.total:.0f} s in all",
        "`make up` opens the service again: the job, its metrics and its checkpoints are kept.",
    )
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _training_seconds(job: JobDetail) -> float:
    return (job.finished_at or 0.0) - (job.started_at or 0.0)


def _in_clone(file: Path) -> Path:
    """The file, also when `examples/…` is meant from another folder."""
    return file if file.exists() or not (REPOSITORY / file).exists() else REPOSITORY / file


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does: in order."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
