"""The key of the local service: made once by the API's own command, then kept in the credentials file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from espo_client import credentials
from espo_client.credentials import Credentials
from espo_client.errors import CredentialsError, EspoApiError, ServiceError
from espo_client.home import REPOSITORY
from espo_client.transport import Transport

CREATE = (
    "-m",
    "api.auth",
    "create",
    "--project",
    "default",
    "--scopes",
    "read,write,admin",
    "--name",
    "local",
)


def ensure(home: Path, *, base_url: str, environment: dict[str, str]) -> bool:
    """Leaves credentials that work for `base_url` in the data folder; returns whether the key is new.

    Raises:
        ServiceError: no key could be made.
    """
    path = home / credentials.FILE_NAME
    known = _read(path)
    is_new = known is None or not _is_accepted(Credentials(base_url=base_url, api_key=known.api_key))
    api_key = _create(environment) if is_new or known is None else known.api_key
    credentials.save(Credentials(base_url=base_url, api_key=api_key), path)
    return is_new


def _read(path: Path) -> Credentials | None:
    try:
        return credentials.read(path)
    except CredentialsError:
        # The file is ours: a broken one is made anew.
        return None


def _is_accepted(candidate: Credentials) -> bool:
    transport = Transport(base_url=candidate.base_url, api_key=candidate.api_key)
    try:
        transport.request("GET", "/v1/jobs", params={"limit": 1})
    except EspoApiError as error:
        if error.status in (401, 403):
            return False
        raise
    finally:
        transport.close()
    return True


def _create(environment: dict[str, str]) -> str:
    made = subprocess.run(
        [sys.executable, *CREATE],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    key = next((word for word in made.stdout.split() if word.startswith("espo_")), None)
    if made.returncode != 0 or key is None:
        reason = (made.stderr.strip() or "it printed no key").splitlines()[-1]
        raise ServiceError(f"`python -m api.auth create` made no API key: {reason}")
    return key
