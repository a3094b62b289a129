"""The address of the service and the key to it: from the environment, else `$ESPO_HOME/credentials.json`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from espo_client.errors import CredentialsError
from espo_client.home import espo_home

FILE_NAME = "credentials.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Where the service is, and a key to it (kept out of `repr`, so that no log shows it)."""

    base_url: str
    api_key: str = field(repr=False)


def load(home: Path | None = None) -> Credentials:
    """The credentials in force: `ESPO_BASE_URL` and `ESPO_API_KEY` go before the file's fields.

    Raises:
        CredentialsError: saying where a key could come from.
    """
    path = (home or espo_home()) / FILE_NAME
    stored = read(path)
    base_url = os.environ.get("ESPO_BASE_URL") or (stored.base_url if stored else "")
    api_key = os.environ.get("ESPO_API_KEY") or (stored.api_key if stored else "")
    if not base_url or not api_key:
        raise CredentialsError(
            f"No credentials: neither ESPO_BASE_URL and ESPO_API_KEY nor {path}. "
            "Start a service with `espo up`, or set both variables."
        )
    return Credentials(base_url=base_url, api_key=api_key)


def read(path: Path) -> Credentials | None:
    """The credentials in a file, None when there is none.

    Raises:
        CredentialsError: when the file is no credentials file.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(base_url=str(document["base_url"]), api_key=str(document["api_key"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CredentialsError(
            f"{path} cannot be read as credentials ({error}). Delete it and run `espo up` again."
        ) from error


def save(credentials: Credentials, path: Path) -> None:
    """Writes the file so that nobody else can ever read it and no reader sees half of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"base_url": credentials.base_url, "api_key": credentials.api_key}, file, indent=2)
        file.write("\n")
    temporary.replace(path)
