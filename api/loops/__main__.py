"""`python -m api.loops [dispatch] [ingest] [reconcile]`: background loops as a process of their own."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal

import api.tables  # noqa: F401 without every table in sight, no row that refers to another can be written
from api.loops.context import open_context
from api.loops.runner import PARTS, run_loops
from api.settings import Settings


async def _main(names: list[str]) -> None:
    async with open_context(Settings()) as context:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, context.stop.set)
        await run_loops(names, context)


def main() -> None:
    """Runs the named loops, all without a name, until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m api.loops", description=__doc__)
    parser.add_argument("loops", nargs="*", choices=[*PARTS, []], metavar="loop", help=", ".join(PARTS))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_main(parser.parse_args().loops or list(PARTS)))


if __name__ == "__main__":
    main()
