"""The `espo` command: a table of contents."""

from __future__ import annotations

import typer

from espo_client.commands import control, data, doctor, jobs, keys, local, results
from espo_client.console import ErrorsInWords

JOBS, RESULTS, DATA, LOCAL = "Jobs", "Results", "Data and catalogues", "Local service"
ACCESS = "Access"

app = typer.Typer(
    cls=ErrorsInWords,
    help="Fine-tune language models with ESPO: submit jobs, watch them, download what they learned.",
    epilog="Address and key: ESPO_BASE_URL and ESPO_API_KEY, else $ESPO_HOME/credentials.json. "
    "Exit status: 0 done, 1 refused, 2 wrong usage, 3 the job did not succeed, 4 no answer, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,  # locals hold keys
)

app.command("up", rich_help_panel=LOCAL)(local.up)
app.command("run", rich_help_panel=LOCAL)(local.run)
app.command("doctor", rich_help_panel=LOCAL)(doctor.doctor)

app.command("submit", rich_help_panel=JOBS)(jobs.submit)
app.command("validate", rich_help_panel=JOBS)(jobs.validate)
app.command("watch", rich_help_panel=JOBS)(jobs.follow)
app.command("jobs", rich_help_panel=JOBS)(jobs.jobs)
app.command("show", rich_help_panel=JOBS)(jobs.show)
app.command("cancel", rich_help_panel=JOBS)(control.cancel)
app.command("pause", rich_help_panel=JOBS)(control.pause)
app.command("resume", rich_help_panel=JOBS)(control.resume)
app.command("retry", rich_help_panel=JOBS)(control.retry)
app.command("clone", rich_help_panel=JOBS)(control.clone)

app.command("metrics", rich_help_panel=RESULTS)(results.metrics)
app.command("plot", rich_help_panel=RESULTS)(results.plot)
app.command("samples", rich_help_panel=RESULTS)(results.samples)
app.command("logs", rich_help_panel=RESULTS)(results.logs)
app.command("events", rich_help_panel=RESULTS)(results.events)
app.command("checkpoints", rich_help_panel=RESULTS)(results.checkpoints)
app.command("download", rich_help_panel=RESULTS)(results.download)

app.command("upload", rich_help_panel=DATA)(data.upload)
app.command("files", rich_help_panel=DATA)(data.files)
app.command("models", rich_help_panel=DATA)(data.models)
app.command("algorithms", rich_help_panel=DATA)(data.algorithms)
app.command("verifiers", rich_help_panel=DATA)(data.verifiers)
app.command("tasks", rich_help_panel=DATA)(data.tasks)

app.add_typer(keys.app, name="keys", rich_help_panel=ACCESS)
