"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from espo_client.client import EspoClient
from espo_client.errors import EspoClientError

Job = Annotated[
    str, typer.Argument(help="Id of a job; `latest`: the newest one.", metavar="[JOB]", show_default=False)
]
JobFilePath = Annotated[Path, typer.Argument(help="Job file, YAML or JSON.", metavar="FILE")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many.")]
LATEST = "latest"


def job_id(client: EspoClient, given: str) -> str:
    """The id that `given` stands for.

    Raises:
        EspoClientError: `latest` was meant and there is no job.
    """
    if given != LATEST:
        return given
    newest = next(client.jobs(limit=1), None)
    if newest is None:
        raise EspoClientError("There is no job yet: `espo submit examples/quickstart.yaml` makes one.")
    return newest.id
