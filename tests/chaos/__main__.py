"""`python -m tests.chaos --seed 1 --rounds 10 --database both`: harm the service, and print what it survived.

Each round submits jobs and injects faults at moments drawn from the seed; then every invariant is checked.
The exit status is 0 when nothing was lost, doubled, different or left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import make_url

from tests.chaos.campaign import Campaign, Findings, Scale
from tests.chaos.fault import DATABASES, Fault
from tests.chaos.faults import FAULTS
from tests.chaos.stack import Stack
from tests.chaos.table import markdown
from tests.servers import PostgresServer, RedisServer


def run(*, database: str, seed: int, rounds: int, scale: Scale, faults: Sequence[Fault]) -> Findings:
    """What one campaign saw, on a stack of its own in a temporary folder."""
    with contextlib.ExitStack() as ending:
        home = Path(tempfile.mkdtemp(prefix="espo-chaos-"))
        redis = RedisServer(home, keeps_data=True)
        redis.start()
        ending.callback(redis.kill)
        postgres, url = None, f"sqlite+aiosqlite:///{home / 'espo.db'}"
        if database == "postgresql":
            postgres = PostgresServer()
            ending.callback(postgres.close)
            url = (
                make_url(postgres.url)
                .set(drivername="postgresql+psycopg")
                .render_as_string(hide_password=False)
            )
        stack = Stack(home=home, redis_url=redis.url, database_url=url, redis=redis, postgres=postgres)
        ending.callback(stack.destroy)
        fitting = [fault for fault in faults if database in fault.databases]
        findings = Campaign(stack, fitting, seed=seed, scale=scale).run(rounds)
    if findings.harms:
        print(f"logs and data are kept in {home}")
    else:
        shutil.rmtree(home)
    return findings


def main(arguments: Sequence[str]) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=Scale.jobs, help="a round")
    parser.add_argument("--faults", type=int, default=Scale.faults, help="a round")
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--only", default="", help="only faults whose name has these words in it")
    parser.add_argument("--write", type=Path, help="a file for the table")
    options = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if options.only in fault.name]
    databases = DATABASES if options.database == "both" else (options.database,)
    scale = Scale(jobs=options.jobs, faults=options.faults)
    findings = [
        run(database=one, seed=options.seed, rounds=options.rounds, scale=scale, faults=faults)
        for one in databases
    ]
    text = markdown(findings)
    print(text)
    if options.write:
        options.write.write_text(text)
    return int(any(one.harms for one in findings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
