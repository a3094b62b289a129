"""`python -m tests.chaos --seed 1 --rounds 10 --database both`: harm the service, and print what it survived.

Each round submits jobs and injects faults at moments drawn from the seed; then every invariant is checked.
The exit status is 0 when nothing was lost, doubled, different or left behind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.campaign import Scale, run
from tests.chaos.fault import DATABASES
from tests.chaos.faults import FAULTS
from tests.chaos.table import markdown


def main(arguments: Sequence[str]) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=Scale().jobs, help="a round")
    parser.add_argument("--faults", type=int, default=Scale().faults, help="a round")
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--only", default="", help="only faults with these words in their name")
    parser.add_argument("--write", type=Path, help="a file for the table")
    options = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if options.only in fault.name]
    databases = DATABASES if options.database == "both" else (options.database,)
    scale = Scale(jobs=options.jobs, faults=options.faults)
    with ThreadPoolExecutor(len(databases)) as pool:
        campaigns = [
            pool.submit(
                run, database=one, seed=options.seed, rounds=options.rounds, scale=scale, faults=faults
            )
            for one in databases
        ]
    findings = [campaign.result() for campaign in campaigns]
    text = markdown(findings)
    print(text)
    if options.write:
        options.write.write_text(text)
    return int(any(one.harms for one in findings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
