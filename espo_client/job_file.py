"""Job files: YAML or JSON on disk, checked before anything is sent, with local data files uploaded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from espo_client.errors import JobFileError
from espo_contracts.validation import FieldError, SpecError, parse_job_spec
from espo_contracts.yaml_document import parse_yaml

LARGEST_BYTES = 1 << 20
FILE_ID = re.compile(r"file-[0-9a-f]{32}")
# Stands for a file that is not uploaded yet, so that the rest can be checked first.
UNKNOWN_FILE = "file-" + "0" * 32
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """A checked job document, as written, and the local data file that it names, if it names one."""

    path: Path
    document: Document
    data_file: Path | None

    def with_uploads(self, upload: Callable[[Path], str]) -> Document:
        """The document to submit: a local data file is given to `upload` and replaced by the file's id."""
        if self.data_file is None:
            return self.document
        data = dict(self.document["data"]) | {"file": upload(self.data_file)}
        return self.document | {"data": data}


def load(path: Path) -> JobFile:
    """The job file at `path`.

    Raises:
        JobFileError: it cannot be read, or the job in it is wrong: every wrong field at once.
    """
    document = parse(_read(path), path)
    data_file = _local_data_file(document, path)
    job = JobFile(path=path, document=document, data_file=data_file)
    try:
        parse_job_spec(job.with_uploads(lambda _: UNKNOWN_FILE))
    except SpecError as error:
        raise JobFileError.of(path, error.errors) from None
    if data_file is not None and not data_file.is_file():
        missing = FieldError(loc="data.file", message=f"no such file: {data_file}")
        raise JobFileError.of(path, [missing])
    return job


def parse(text: str, path: Path) -> Document:
    """The document in a YAML or JSON text; `path` is for its suffix and for messages.

    Raises:
        JobFileError: naming the line.
    """
    try:
        # JSON is not read as YAML: YAML would take a tab or a lone word where JSON has an error.
        document = json.loads(text) if path.suffix == ".json" else parse_yaml(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise JobFileError(f"{path} cannot be parsed: {_one_line(error)}") from None
    except RecursionError:
        raise JobFileError(f"{path} cannot be parsed: it is nested too deeply") from None
    if not isinstance(document, dict):
        raise JobFileError(f"{path} holds no job: its top level must be `name: value` lines, see examples/")
    return document


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise JobFileError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB: that is no job file")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise JobFileError(f"{path} is no UTF-8 text") from None
    except OSError as error:
        raise JobFileError(f"{path} cannot be read: {error.strerror or error}") from None


def _local_data_file(document: Document, path: Path) -> Path | None:
    """The path in `data.file`, taken from the job file's folder; None for an uploaded file's id."""
    data = document.get("data")
    name = data.get("file") if isinstance(data, dict) else None
    if not isinstance(name, str) or FILE_ID.fullmatch(name):
        return None
    return (path.parent / Path(name).expanduser()).resolve()


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()
