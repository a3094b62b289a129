"""Where things lie: the source tree, the data folder of the local service, and the model directories."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def has_application() -> bool:
    """Whether `api/` and `worker/` stand beside this package: true in a clone, false for the wheel."""
    return (REPOSITORY / "api" / "app.py").is_file() and (REPOSITORY / "worker").is_dir()


def espo_home() -> Path:
    """The data folder: `ESPO_HOME`, else `.espo` in the clone, else `~/.espo`."""
    given = os.environ.get("ESPO_HOME")
    if given:
        return Path(given).expanduser().resolve()
    return REPOSITORY / ".espo" if has_application() else Path.home() / ".espo"


def model_path(home: Path) -> str:
    """The PATH-like list of model directories that the service uses."""
    default = os.pathsep.join((str(home / "models"), str(REPOSITORY / "examples")))
    return os.environ.get("ESPO_MODEL_PATH") or default
