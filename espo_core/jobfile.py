"""A job file on this machine: its specification, and where its model and data lie."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import yaml

from espo_contracts.job import JobSpec
from espo_contracts.models import find_model, model_folders
from espo_contracts.validation import SpecError, parse_job_spec
from espo_contracts.yaml_document import parse_yaml
from espo_core.errors import ConfigError, DataError, ModelError

FILE_ID = re.compile(r"file-[0-9a-f]{32}")
CLONE = Path(__file__).resolve().parents[1]


def data_home() -> Path:
    """ESPO_HOME, or `.espo` beside the packages."""
    return Path(os.environ.get("ESPO_HOME") or CLONE / ".espo")


def model_path() -> str:
    """ESPO_MODEL_PATH, or the models of the data folder and of the examples."""
    return os.environ.get("ESPO_MODEL_PATH") or os.pathsep.join(
        [str(data_home() / "models"), str(CLONE / "examples")]
    )


def read_job(path: Path) -> tuple[JobSpec, Path | None]:
    """The job of a YAML or JSON file, and its data file; `data.file` may be a path here.

    Raises:
        ConfigError: the file cannot be read or breaks the rules, with every error at once.
        DataError: the data file is missing.
    """
    document = _document(path)
    data = document.get("data")
    given = data.get("file") if isinstance(data, dict) else None
    file = None if given is None else _data_file(str(given), beside=path)
    if file is not None:
        document = {**document, "data": {**document["data"], "file": _file_id(file)}}
    try:
        return parse_job_spec(document), file
    except SpecError as error:
        listed = "\n".join(f"  {one.loc}: {one.message}" for one in error.errors)
        raise ConfigError(f"{path} is not a valid job:\n{listed}") from error


def find_job_model(spec: JobSpec) -> Path | None:
    """The folder of a job's base model; None for a hub model.

    Raises:
        ModelError: there is none of this name.
    """
    if spec.model.checkpoint is not None:
        raise ModelError(
            "model.checkpoint refers to a job of the service",
            hint="Download the checkpoint into a folder of the model path and give its name in model.name.",
        )
    if spec.model.name is None:
        return None
    folder = find_model(spec.model.name, model_path())
    if folder is None:
        known = ", ".join(one.name for one in model_folders(model_path())) or "none"
        raise ModelError(
            f"there is no model {spec.model.name!r}; there are: {known}",
            hint=f"Models are looked for in {model_path()} (ESPO_MODEL_PATH).",
        )
    return folder


def _document(path: Path) -> dict[str, Any]:
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML or JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no job: it must be a mapping with model, data, reward and so on")
    return document


def _data_file(given: str, *, beside: Path) -> Path:
    """The file at a path from the job file's folder."""
    path = beside.parent / Path(given).expanduser()
    if not path.is_file():
        what = "an uploaded file of the service" if FILE_ID.fullmatch(given) else "not a file"
        raise DataError(
            f"data.file {given!r} is {what}",
            hint="Here data.file is the path of a JSONL file, from the folder of the job file.",
        )
    return path


def _file_id(path: Path) -> str:
    with path.open("rb") as file:
        return f"file-{hashlib.file_digest(file, 'sha256').hexdigest()[:32]}"
