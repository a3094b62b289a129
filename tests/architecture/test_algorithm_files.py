"""An algorithm is one small file, and nothing outside ALGORITHMS asks which one it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from espo_core.algorithms import ALGORITHMS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "espo_core" / "algorithms"
SHARED = {"__init__.py", "definition.py", "fields.py"}
FILES = sorted(path.name for path in FOLDER.glob("*.py") if path.name not in SHARED)
ROOMS = ("espo_core", "espo_contracts", "worker", "api")
MAX_LINES = 40


def code_lines(source: str) -> list[str]:
    """The lines that are neither blank, nor a comment, nor of a docstring."""
    strings = [
        range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    told = {number for lines in strings for number in lines}
    return [
        line
        for number, line in enumerate(source.splitlines(), start=1)
        if number not in told and line.strip() and not line.strip().startswith("#")
    ]


def branches_on_algorithm(source: str) -> Iterator[int]:
    """Yields the line of each comparison, case or dict key that asks for an algorithm by its name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            asks = _names_in(node) or _compares_a_name_of_an_algorithm(node)
        elif isinstance(node, ast.MatchValue | ast.MatchMapping):
            asks = _names_in(node)
        else:
            asks = isinstance(node, ast.Dict) and any(key and _names_in(key) for key in node.keys)
        if asks:
            yield node.lineno


def _names_in(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Constant) and one.value in ALGORITHMS for one in ast.walk(node))


def _compares_a_name_of_an_algorithm(node: ast.Compare) -> bool:
    sides = (node.left, *node.comparators)
    return any(
        isinstance(side, ast.Attribute) and side.attr == "name" and "algorithm" in ast.unparse(side).lower()
        for side in sides
    )


def test_every_algorithm_has_a_file_of_its_name() -> None:
    assert {f"{name}.py" for name in ALGORITHMS} == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_an_algorithm_file_is_small(file: str) -> None:
    lines = code_lines((FOLDER / file).read_text(encoding="utf-8"))
    assert len(lines) <= MAX_LINES, f"{file} has {len(lines)} lines of code"


def test_docstrings_comments_and_blanks_are_not_counted() -> None:
    told = '"""Of two\n\nlines."""\n\nX = 1\n"""What X is."""\n# Why.\n'
    assert code_lines(f'{told}def f() -> int:\n    """One."""\n    return X\n') == [
        "X = 1",
        "def f() -> int:",
        "    return X",
    ]


def test_nothing_branches_on_the_name_of_an_algorithm() -> None:
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(files) > 100
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for line in branches_on_algorithm(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "is_branch"),
    [
        ('if name == "espo":\n    pass', True),
        ('wide = name in ("other", "gspo")', True),
        ("same = spec.algorithm.name != other", True),
        ('match name:\n    case "grpo":\n        pass', True),
        ('chosen = {"dapo": 1}[name]', True),
        ('if device == "cpu":\n    pass', False),
        ("build = ALGORITHMS[spec.algorithm.name].build", False),
        ('default = AlgorithmSpec(name="espo")', False),
        ("mine = Project.name == name", False),
    ],
)
def test_knows_a_branch_when_it_sees_one(source: str, is_branch: bool) -> None:
    assert bool(list(branches_on_algorithm(source))) == is_branch
