"""The example notebook runs, uses the library alone, and shows what is committed."""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path

import pytest
from nbformat import NotebookNode

from tests.examples.notebook import NOTEBOOK, executed, read

NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """The notebook after a run in a fresh kernel of this Python, whatever kernels and settings a user has."""
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("PYTHONWARNINGS", "default")
        return executed(read(), seconds=120)


def texts(notebook: NotebookNode) -> list[str]:
    """What the cells print."""
    return [out.text for cell in code(notebook) for out in cell.outputs if out.output_type == "stream"]


def images(notebook: NotebookNode) -> list[bytes]:
    """The pictures."""
    shown = [out.data for cell in code(notebook) for out in cell.outputs if out.output_type == "display_data"]
    return [base64.b64decode(data["image/png"]) for data in shown]


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


@pytest.mark.slow
def test_prints_what_is_committed(shown: NotebookNode) -> None:
    """To the last letter; a number to its last digits, which another machine may round otherwise."""
    kept, found = "".join(texts(read())), "".join(texts(shown))
    assert NUMBER.sub("#", found) == NUMBER.sub("#", kept)
    assert numbers(found) == pytest.approx(numbers(kept), rel=0.02, abs=2e-4)


@pytest.mark.slow
def test_draws_one_picture_and_warns_of_nothing(shown: NotebookNode) -> None:
    assert [image[:8] for image in images(shown)] == [PNG]
    streams = [out.name for cell in code(shown) for out in cell.outputs if out.output_type == "stream"]
    assert set(streams) == {"stdout"}


def test_is_committed_as_run_from_top_to_bottom_and_small() -> None:
    notebook = read()
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert [image[:8] for image in images(notebook)] == [PNG]
    assert NOTEBOOK.stat().st_size < 150_000
    assert str(Path.cwd()) not in NOTEBOOK.read_text(encoding="utf-8")


def test_imports_the_library_alone() -> None:
    sources = "\n".join(cell.source for cell in code(read()))
    imported = set(re.findall(r"^(?:from|import) (\w+)", sources, re.M))
    ours = {"espo_core", "espo_contracts"}
    assert ours < imported
    assert imported - ours - sys.stdlib_module_names == {"matplotlib", "numpy", "torch"}
