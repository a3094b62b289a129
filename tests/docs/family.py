"""The tables of `docs/algorithms.md` that follow from the code; `python -m tests.docs.family` writes them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from espo_core.algorithms import ALGORITHMS
from espo_core.algorithms.definition import Algorithm
from espo_core.objectives import Objective
from tests.docs.page import PAGE, read, with_generated

PARTS = ("units", "ratio", "trust_region", "aggregation")
OPTIONS = ("baseline", "dual_clip", "kl_coefficient")
"""Parameters that bring a further part."""


def family() -> str:
    """The algorithms by their parts, built with their defaults."""
    head = ("algorithm", "units", "ratio", "trust region", "aggregation", "advantage", "besides", "paper")
    return _table((*head, "fidelity"), (_row(one) for one in ALGORITHMS.values()))


def defaults() -> str:
    """The parameters of each algorithm at their defaults."""
    return _table(
        ("algorithm", "parameters"), ((f"`{name}`", _settings(one)) for name, one in ALGORITHMS.items())
    )


def parts() -> str:
    """Every part of the family's table, with the first line of its documentation."""
    found = {part_name(part): part for one in ALGORITHMS.values() for part in _parts(_built(one))}
    return _table(("part", "what it returns", "in"), (_described(name, part) for name, part in found.items()))


def part_name(part: object) -> str:
    """The name of a function, or of a part's class."""
    return str(getattr(part, "__name__", type(part).__name__))


GENERATED = {"family": family, "defaults": defaults, "parts": parts}
"""What writes each generated part of the page."""


def _built(algorithm: Algorithm[Any]) -> Objective:
    return algorithm.build(algorithm.config())


def _parts(objective: Objective) -> Iterator[object]:
    """Yields the parts kind by kind, those that stand beside the others last."""
    yield from (getattr(objective, kind) for kind in PARTS)
    yield from _besides(objective)


def _besides(objective: Objective) -> list[object]:
    return [part for part in (objective.credit, *objective.regularizers) if part is not None]


def _row(algorithm: Algorithm[Any]) -> Sequence[str]:
    objective = _built(algorithm)
    besides = [f"`{part_name(part)}`" for part in _besides(objective)]
    besides += ["dynamic sampling"] * algorithm.dynamic_sampling
    options = [f"`{name}`" for name in OPTIONS if name in algorithm.config.model_fields]
    besides += [f"optional {', '.join(options)}"] * bool(options)
    return (
        f"[`{algorithm.name}`](../espo_core/algorithms/{algorithm.name}.py)",
        *(f"`{part_name(getattr(objective, kind))}`" for kind in PARTS),
        f"`{objective.advantage_kind}`",
        "; ".join(besides),
        _source(algorithm.paper),
        algorithm.fidelity,
    )


def _source(paper: str) -> str:
    """A link to the paper, or to what stands in its place."""
    if not paper.startswith("arXiv:"):
        return "[the evidence](evidence/README.md)"
    number = paper.removeprefix("arXiv:")
    return f"[{number}](https://arxiv.org/abs/{number})"


def _settings(algorithm: Algorithm[Any]) -> str:
    values = algorithm.config().model_dump(mode="json")
    return ", ".join(f"`{name}` {json.dumps(value)}" for name, value in values.items())


def _described(name: str, part: object) -> Sequence[str]:
    module = inspect.getmodule(part if inspect.isfunction(part) else type(part))
    file = str(module and module.__name__).rsplit(".", 1)[-1]
    first = str(inspect.getdoc(part)).splitlines()[0]
    return f"`{name}`", first.replace("|", "\\|"), f"[{file}.py](../espo_core/objectives/{file}.py)"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    page = read()
    for name, write in GENERATED.items():
        page = with_generated(page, name, write())
    PAGE.write_text(page, encoding="utf-8")
