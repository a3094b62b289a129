"""Prints the service's figures: `python -m bench`, or some of them: `python -m bench latency`."""

from __future__ import annotations

import argparse

from bench import api_process, latency
from bench.embedded import embedded

REPORTS = {"latency": latency.report, "api": api_process.report}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Beside these, each with --help: python -m bench.transfer (checkpoints through Redis), "
        "bench.ingest (events into the database), bench.dispatch (jobs to workers).",
    )
    parser.add_argument("figures", nargs="*", choices=[[], *REPORTS], help="default: all")
    chosen = parser.parse_args().figures or list(REPORTS)
    with embedded() as service:
        for name in chosen:
            REPORTS[name](service)


if __name__ == "__main__":
    main()
