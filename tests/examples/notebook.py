"""Runs the example notebook in its own kernel; `python -m tests.examples.notebook` keeps what it shows."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "espo_in_a_notebook.ipynb"


def read() -> NotebookNode:
    """The notebook as it is committed."""
    return nbformat.read(NOTEBOOK, as_version=4)


def executed(notebook: NotebookNode, *, seconds: float) -> NotebookNode:
    """The notebook after all of its cells, each within the time.

    Raises:
        CellExecutionError: a cell raised.
    """
    client = NotebookClient(
        notebook,
        timeout=seconds,
        record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    return client.execute()


if __name__ == "__main__":
    shown = executed(read(), seconds=60)
    shown.metadata.language_info = {"name": "python"}
    NOTEBOOK.write_text(nbformat.writes(shown, indent=1) + "\n", encoding="utf-8")
