"""The campaign's table: fault by fault what was done, and what it did to the jobs that it met."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.chaos.campaign import Findings, Injection
from tests.chaos.invariants import Verdict

COLUMNS = (
    ("lost", ("lost", "wrong state")),
    ("run twice at once", ("run twice",)),
    ("metric gaps", ("gaps",)),
    ("doubles", ("doubles",)),
    ("weights differing", ("weights", "checkpoints")),
)
HEAD = ("fault", "injected", "jobs", *(title for title, _ in COLUMNS), "leftovers")


def rows(findings: Sequence[Findings]) -> list[list[str]]:
    """The cells: a row for each fault, the most frequent first, and one for all together.

    A job counts in the row of each fault that it met, once in the last row.
    """
    names = sorted({injection.fault for one in findings for injection in one.injections})
    counted = [(name, *_count(findings, name)) for name in names]
    counted.sort(key=lambda row: (-row[1], row[0]))
    total = sum(len(one.injections) for one in findings)
    every = [verdict for one in findings for verdict in one.verdicts]
    left = sum(len(one.leftovers) for one in findings)
    lines = [[name, str(times), *_cells(met), "·"] for name, times, met in counted]
    return [*lines, ["**all**", f"**{total}**", *_cells(every), str(left)]]


def markdown(findings: Sequence[Findings]) -> str:
    """The table as Markdown, and the figures under it."""
    cells = [list(HEAD), ["---", *["---:"] * (len(HEAD) - 1)], *rows(findings)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    return "\n\n".join([table, *(_figures(one) for one in findings)]) + "\n"


def _count(findings: Sequence[Findings], fault: str) -> tuple[int, list[Verdict]]:
    times, met = 0, []
    for one in findings:
        injections = [injection for injection in one.injections if injection.fault == fault]
        times += len(injections)
        met += [verdict for verdict in one.verdicts if any(_met(verdict, i) for i in injections)]
    return times, met


def _met(verdict: Verdict, injection: Injection) -> bool:
    """Whether the job was there during the fault."""
    job = verdict.job
    return job.began < injection.ended and (job.ended is None or job.ended > injection.began)


def _cells(verdicts: Sequence[Verdict]) -> list[str]:
    harmed = [
        sum(any(kind in kinds for kind, _ in verdict.harms) for verdict in verdicts) for _, kinds in COLUMNS
    ]
    return [str(len(verdicts)), *map(str, harmed)]


def _figures(one: Findings) -> str:
    lines = [
        f"{one.database}, seed {one.seed}: {len(one.injections)} faults, {len(one.verdicts)} jobs, "
        f"{one.seconds / 60:.0f} min.",
        f"- A killed run process trained again after {spread(one.run_recoveries)}.",
        f"- A killed worker's job trained again after {spread(one.worker_recoveries)}.",
    ]
    for growth in sorted(one.growths, key=lambda growth: -growth.seconds)[:6]:
        lines.append(
            f"- {growth.name}, alive for {growth.seconds:.0f} s: "
            f"{growth.warm_bytes / 2**20:.0f} MiB when warm, {growth.last_bytes / 2**20:.0f} MiB at the end."
        )
    return "\n".join([*lines, *(f"- {kind}: {what}" for kind, what in one.harms)])


def spread(seconds: Sequence[float]) -> str:
    """Median, 95th percentile and most, in words."""
    if not seconds:
        return "— (none seen)"
    ordered = sorted(seconds)
    high = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    middle = f"{statistics.median(ordered):.1f} s (median of {len(ordered)}"
    return f"{middle}; p95 {high:.1f} s, most {ordered[-1]:.1f} s)"
