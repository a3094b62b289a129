"""Data files and catalogues."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from espo_client.client import EspoClient
from espo_client.commands.arguments import AsJson, Limit
from espo_client.console import age, err, out, print_json, print_table, size
from espo_client.display import bytes_display
from espo_client.errors import EspoClientError

FileName = Annotated[Path, typer.Argument(help="JSONL file: one JSON object a line.", metavar="FILE")]


def upload(file: FileName, as_json: AsJson = False) -> None:
    """Upload a data file; jobs name it by its id in data.file.

    \b
    espo upload train.jsonl
    """
    if not file.is_file():
        raise EspoClientError(f"{file} is no file")
    what, size_bytes = f"uploading {file.name}", file.stat().st_size
    with EspoClient.from_environment() as client, bytes_display(err, what, size_bytes) as on_bytes:
        stored = client.upload(file, on_bytes=on_bytes)
    if as_json:
        print_json(stored)
        return
    out.print(stored.id, highlight=False)
    err.print(f"{stored.rows} rows, {size(stored.bytes)}", style="dim", highlight=False)


def files(
    limit: Limit = 20,
    delete: Annotated[str, typer.Option(help="Delete the file with this id instead.")] = "",
    as_json: AsJson = False,
) -> None:
    """List uploaded files, newest first.

    \b
    espo files
    espo files --delete file-0123…
    """
    with EspoClient.from_environment() as client:
        if delete:
            client.delete_file(delete)
            out.print(f"{delete} deleted", markup=False, highlight=False)
            return
        found = list(client.files(limit=limit))
    if as_json:
        print_json(found)
        return
    rows = (
        (file.id, str(file.rows), size(file.bytes), age(file.created_at), escape(file.filename))
        for file in found
    )
    empty = "No files. `espo upload train.jsonl` stores one."
    print_table("id", "rows", "size", "age", "name", rows=rows, empty=empty)


def models(as_json: AsJson = False) -> None:
    """List the models that jobs can start from.

    \b
    espo models
    """
    with EspoClient.from_environment() as client:
        found = client.catalogue("models")
    if as_json:
        print_json(found)
        return
    rows = ((str(model["name"]), _millions(model), str(model.get("architecture") or "")) for model in found)
    empty = "No models: put a model folder into $ESPO_HOME/models."
    print_table("name", "parameters", "architecture", rows=rows, empty=empty)


def algorithms(as_json: AsJson = False) -> None:
    """List the algorithms; --json adds the schema of their parameters.

    \b
    espo algorithms
    espo algorithms --json | jq '.[] | select(.name == "espo").parameters'
    """
    _catalogue("algorithms", as_json=as_json)


def verifiers(as_json: AsJson = False) -> None:
    """List the verifiers, which score responses; --json adds the schema of their parameters.

    \b
    espo verifiers
    """
    _catalogue("verifiers", as_json=as_json)


def tasks(as_json: AsJson = False) -> None:
    """List the generated tasks; --json adds the schema of their parameters.

    \b
    espo tasks
    """
    _catalogue("tasks", as_json=as_json)


def _catalogue(noun: str, *, as_json: bool) -> None:
    with EspoClient.from_environment() as client:
        found = client.catalogue(noun)
    if as_json:
        print_json(found)
        return
    print_table("name", "", rows=(_entry(entry) for entry in found), empty=f"No {noun}.")


def _millions(model: dict[str, Any]) -> str:
    return f"{(model.get('parameters') or 0) / 1e6:.2f} M"


def _entry(entry: dict[str, Any]) -> tuple[str, str]:
    words = (str(entry.get(field) or "") for field in ("summary", "paper"))
    return str(entry["name"]), " · ".join(filter(None, words))
