"""The tables of the evidence, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from bench.evidence.lines import Line
from bench.evidence.outcome import (
    Comparison,
    Outcome,
    PairName,
    Rows,
    against,
    area,
    curve_mean,
    difference,
    held_out,
    last_entropy,
    rollouts_to,
    thresholds,
)
from bench.evidence.statistics import Paired

Cell = Callable[[Mapping[PairName, Line]], str]


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in body)])


def signed(one: Paired | None, *, digits: int = 3) -> str:
    """A difference with its half-width."""
    if one is None:
        return ""
    width = f" ± {one.half_width:.{digits}f}" if one.n > 1 else ""
    return f"{one.mean:+.{digits}f}{width}"


def with_p(one: Comparison) -> str:
    """A difference, its half-width and its corrected p-value."""
    return f"{signed(one.difference)} (p {one.corrected:.2g})"


def mean_of(outcome: Outcome, *, form: str = ".3f") -> Cell:
    """A cell with the mean of an outcome over pairs."""

    def cell(pairs: Mapping[PairName, Line]) -> str:
        return format(statistics.fmean(outcome(line) for line in pairs.values()), form)

    return cell


def main_table(rows: Rows, *, references: Sequence[str]) -> str:
    """Every row with its outcomes, and its paired differences to the references."""
    levels = thresholds(rows)
    outcomes: dict[str, Cell] = {
        "pairs": lambda pairs: str(len(pairs)),
        "held-out": mean_of(held_out),
        "mean reward": mean_of(area),
        "rollouts to threshold": lambda pairs: _rollouts(pairs, levels),
        "clip fraction": mean_of(curve_mean("clip"), form=".2%"),
        "gradient utilisation": mean_of(curve_mean("utilisation"), form=".1%"),
        "last entropy": mean_of(last_entropy),
    }
    body = [[row, *(cell(rows[row]) for cell in outcomes.values())] for row in rows]
    parts = [table(["", *outcomes], body)]
    return "\n\n".join([*parts, *(difference_table(rows, name) for name in references if name in rows)])


def _rollouts(pairs: Mapping[PairName, Line], levels: Mapping[PairName, float]) -> str:
    counts = [rollouts_to(line, levels[name]) for name, line in pairs.items()]
    missed = sum(count >= line["rollouts"] for count, line in zip(counts, pairs.values(), strict=True))
    return f"{statistics.fmean(counts):,.0f}" + (f" ({missed} never)" if missed else "")


def difference_table(rows: Rows, reference: str) -> str:
    """Every row against one reference, the first column a family of comparisons."""
    body = [
        [
            one.row,
            str(one.difference.n),
            with_p(one),
            signed(difference(rows, one.row, reference, area)),
            mean_of(curve_mean("clip"), form=".2%")(rows[one.row]),
            mean_of(last_entropy)(rows[one.row]),
        ]
        for one in against(rows, reference, held_out)
    ]
    columns = ("pairs", "held-out accuracy (Holm)", "mean reward", "its clip fraction", "its last entropy")
    return table([f"minus {reference}", *columns], body)


def by_base_table(rows: Rows, *, row: str, reference: str) -> str:
    """A difference by base model: pairs of one base model are not wholly independent."""
    bases = dict.fromkeys(base for base, _ in rows.get(row, {}))
    parts = {
        base: {
            name: {pair: line for pair, line in rows[name].items() if pair[0] == base}
            for name in (row, reference)
        }
        for base in bases
    }
    body = [
        [base, str(one.n), signed(one), mean_of(lambda line: line["reward"][0])(part[row])]
        for base, part in parts.items()
        if (one := difference(part, row, reference, held_out)) is not None
    ]
    return table(["base model", "pairs", f"{row} − {reference}, held-out", "reward at the start"], body)
