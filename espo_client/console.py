"""How commands talk: results to stdout, progress and errors to stderr, one-line errors with a way out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from espo_client.errors import EspoApiError, EspoClientError, EspoConnectionError, RunError

# Into a pipe or a file go whole lines, however wide a terminal would be.
out = Console(width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True)

WORDS = ("", "name")
FAILED, JOB_FAILED, UNREACHABLE, INTERRUPTED = 1, 3, 4, 130


class ErrorsInWords(TyperGroup):
    """Turns expected errors into a message and an exit status; what is unexpected keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # `espo logs | head`: nobody listens any more, which is no error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILED) from None
        except EspoClientError as error:
            complain(f"{error}{_advice(error)}")
            raise typer.Exit(_status(error)) from None
        except OSError as error:
            complain(str(error))
            raise typer.Exit(FAILED) from None


def complain(text: str) -> None:
    """Says what is wrong, on stderr."""
    err.print(f"espo: {text}", style="red", markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Prints records as JSON for programs."""
    print(json.dumps(_plain(value), ensure_ascii=False, indent=2))


def print_json_line(value: Any) -> None:
    """Prints one record as one line of JSON."""
    print(json.dumps(_plain(value), ensure_ascii=False), flush=True)


def print_table(*columns: str, rows: Iterable[Iterable[str]], empty: str) -> None:
    """Prints a table, or what it means that there is nothing to show."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # Only what people wrote may take several lines; identifiers are to be copied.
        table.add_column(column, no_wrap=column not in WORDS, overflow="fold")
    for row in rows:
        table.add_row(*row)
    out.print(table if table.row_count else empty)


def clock(seconds: float) -> str:
    """A moment in local time."""
    return datetime.fromtimestamp(seconds, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(seconds: float) -> str:
    """How long ago a moment was, roughly."""
    passed = max(0.0, time.time() - seconds)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if passed >= 2 * length:
            return f"{passed / length:.0f} {unit}"
    return f"{passed:.0f} s"


def size(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return value


def _status(error: EspoClientError) -> int:
    if isinstance(error, EspoConnectionError):
        return UNREACHABLE
    return JOB_FAILED if isinstance(error, RunError) else FAILED


def _advice(error: EspoClientError) -> str:
    if isinstance(error, EspoApiError) and error.status == 401:
        return "\n  The key is not valid here: `espo up` writes a new one, or set ESPO_API_KEY."
    if isinstance(error, EspoApiError) and error.status == 404:
        return "\n  `espo jobs`, `espo checkpoints` and `espo files` list what there is."
    return ""
