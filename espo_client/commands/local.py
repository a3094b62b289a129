"""The service on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from espo_client.console import err
from espo_client.home import espo_home
from espo_client.services.up import up as serve

MayMove = Annotated[
    bool, typer.Option("--any-port", help="Take the next free port when the wanted is taken.")
]
JobFile = Annotated[
    Path, typer.Argument(help="Job file, YAML or JSON.", metavar="[FILE]", show_default=False)
]


def up(any_port: MayMove = False) -> None:
    """Start the service here and serve until Ctrl-C: Redis, API and one worker on embedded defaults.

    Data lies in ESPO_HOME. ESPO_API_PORT (default: 8000, or the next free port), ESPO_WORKER_DEVICE
    (cpu, gpu), ESPO_WORKER_DEVICES, ESPO_DATABASE_URL, ESPO_REDIS_URL and ESPO_STORE_URL move its parts.

    \b
    espo up
    ESPO_HOME=/data/espo ESPO_API_PORT=9000 espo up
    """
    serve(espo_home(), may_move=any_port, say=_say)


def run(file: JobFile = Path("examples/quickstart.yaml")) -> None:
    """Run a job from start to end: service, training, download, evaluation before and after, plot.

    Uses the service of ESPO_HOME when it runs, else starts it and stops it in the end. The result is in
    $ESPO_HOME/quickstart.

    \b
    espo run
    espo run examples/smollm2.yaml
    """
    # The plot's library takes longer to import than every other command to run.
    from espo_client.quickstart.run import run_job

    run_job(file, espo_home())


def _say(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)
