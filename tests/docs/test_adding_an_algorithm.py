"""Follows "Adding an algorithm in one file" of `docs/algorithms.md` word for word, in a copy of the tree."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.test_algorithm_files import MAX_LINES, code_lines
from tests.docs.page import ROOT, Block, blocks, read, section

COPIED = (
    "espo_contracts",
    "espo_core",
    "examples/tiny-base",
    "tests/__init__.py",
    "tests/espo_core/__init__.py",
    "tests/espo_core/test_catalogue.py",
    "tests/espo_core/algorithms/__init__.py",
    "tests/espo_core/objectives/__init__.py",
    "tests/espo_core/objectives/rollouts.py",
    "pyproject.toml",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the trainer needs, with the page's files written and its changes made."""
    tree, steps = tmp_path_factory.mktemp("tree"), section(read(), "## Adding an algorithm in one file")
    for name in COPIED:
        _copy(ROOT / name, tree / name)
    for block in blocks(steps, "New"):
        assert block.path is not None
        (tree / block.path).write_text(block.text, encoding="utf-8")
    for block in blocks(steps, "In"):
        _apply(block, tree)
    run(tree, "-m", "espo_core.catalogue")
    return tree


def run(tree: Path, *command: str) -> str:
    """What a Python command prints, run in the tree."""
    home = {"ESPO_HOME": str(tree / "home"), "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=os.environ | home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)


def _apply(block: Block, tree: Path) -> None:
    """Makes a change whose context must stand once in its file."""
    path, lines = tree / str(block.path), block.text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, before
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_the_page_gives_a_file_two_lines_a_test_and_a_job() -> None:
    steps = section(read(), "## Adding an algorithm in one file")
    assert [block.path for block in blocks(steps, "New")] == [
        "espo_core/algorithms/forking.py",
        "tests/espo_core/algorithms/test_forking.py",
        "job.yaml",
    ]
    assert sum(line.startswith("+") for block in blocks(steps, "In") for line in block.text.splitlines()) == 2


def test_its_file_is_as_small_and_tidy_as_the_others(tree: Path) -> None:
    file = "espo_core/algorithms/forking.py"
    assert len(code_lines((tree / file).read_text(encoding="utf-8"))) <= MAX_LINES
    for check in (("format", "--check"), ("check", "--no-cache")):
        run(tree, "-m", "ruff", *check, file, "tests/espo_core/algorithms/test_forking.py")


def test_the_catalogue_offers_it(tree: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\n\t@$(BIN)/python -m espo_core.catalogue\n" in makefile.split("\ncatalogue:")[1]
    catalogue = json.loads((tree / "espo_contracts" / "catalogue.json").read_text(encoding="utf-8"))
    (entry,) = (one for one in catalogue["algorithms"] if one["name"] == "forking")
    assert entry["fidelity"] == "reconstruction"
    assert entry["parameters"]["properties"]["first_trained"]["default"] == 0.8


@pytest.mark.slow
def test_its_test_passes_and_so_does_the_catalogues(tree: Path) -> None:
    tests = ("tests/espo_core/algorithms/test_forking.py", "tests/espo_core/test_catalogue.py")
    assert " passed" in run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)


@pytest.mark.slow
def test_it_trains(tree: Path) -> None:
    run(tree, "-m", "espo_core", "job.yaml", "--output", "run")
    events = [json.loads(line) for line in (tree / "run" / "events.jsonl").read_text("utf-8").splitlines()]
    losses = {
        one["step"]: one["values"]["policy/loss"] for one in events if "policy/loss" in one.get("values", {})
    }
    assert losses.keys() == {1, 2}
    assert all(math.isfinite(loss) for loss in losses.values())
    trained = [
        one["values"]["policy/gradient_utilisation"]
        for one in events
        if one.get("step") == 1 and "values" in one
    ]
    assert any(0 < share <= 0.31 for share in trained)
    assert (tree / "run" / "checkpoint-2" / "model.safetensors").is_file()
