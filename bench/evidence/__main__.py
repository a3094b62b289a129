"""The evidence: `python -m bench.evidence run`, then `python -m bench.evidence report`.

`run` goes on where it was stopped; `--reduced` does all of it in a minute, for tests.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bench.evidence.bases import ROOT
from bench.evidence.campaign import Campaign
from bench.evidence.lines import read
from bench.evidence.plan import Plan
from bench.evidence.report import write_report
from bench.evidence.scale import FULL, REDUCED

app = typer.Typer(help=__doc__, no_args_is_help=True)
Results = Annotated[Path, typer.Option(help="Folder of the lines.")]
Reduced = Annotated[bool, typer.Option("--reduced", help="A minute's campaign, with no power.")]
RESULTS = ROOT / "bench" / "results" / "evidence"


@app.command()
def run(
    results: Results = RESULTS,
    stage: Annotated[list[str] | None, typer.Option(help="Only this stage; may be repeated.")] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Runs at a time, one core each.")] = 2,
    minutes: Annotated[float, typer.Option(min=0, help="Begin no run after this; 0: until done.")] = 0,
    reduced: Reduced = False,
) -> None:
    """Makes the runs that have no line yet."""
    home = Path(os.environ.get("ESPO_HOME", ROOT / ".espo"))
    Campaign(
        scale=REDUCED if reduced else FULL,
        results=results,
        cache=home / "evidence",
        processes=processes,
        seconds=60 * minutes or float("inf"),
        stages=frozenset(stage or ()),
    ).run()


@app.command()
def plan(results: Results = RESULTS, reduced: Reduced = False) -> None:
    """Says what is done and what is to do, as far as the lines decide it."""
    scale = REDUCED if reduced else FULL
    lines = read(results / "runs.jsonl")
    for block in Plan(scale=scale, lines=lines).blocks():
        for stage in dict.fromkeys(one.stage for one in block):
            keys = {one.trial.key for one in block if one.stage == stage}
            print(f"{stage}: {len(keys & set(lines))} of {len(keys)} runs")


@app.command()
def report(
    results: Results = RESULTS,
    docs: Annotated[Path, typer.Option(help="Folder of the tables and plots.")] = ROOT / "docs" / "evidence",
    reduced: Reduced = False,
) -> None:
    """Writes the tables and plots from the lines."""
    write_report(REDUCED if reduced else FULL, results=results, docs=docs)


if __name__ == "__main__":
    app()
