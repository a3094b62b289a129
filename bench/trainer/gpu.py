"""Our trainer beside TRL's on a GPU, with a model of 0.7 billion parameters: `python -m bench.trainer.gpu`.

    python -m bench.trainer.gpu --rounds 5 --json h100.json
    python -m bench.trainer.gpu --tflops 312          # a card whose speed in bfloat16 is not known here

Random weights in float32, products in bfloat16 by autocast, 32 prompts x 8 responses of 256 forced tokens to
prompts of 256. Beside the table: tokens a second of sampling and of the update, the share of the card's speed
that the update uses (MFU), and the peak of memory against the estimate that the service gives. The FLOPs of
the MFU are those that a step needs: 6 a weight and token, a prompt counted once for all of its responses, the
output layer for response tokens alone, attention scores left out.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from api.catalogue.models import ModelFacts, facts_of
from api.jobs.estimate import estimate
from api.jobs.workload import DataFacts
from bench.peers.installed import version
from bench.trainer.figures import Figure
from bench.trainer.machine import some_core
from bench.trainer.order import Order, job_of
from bench.trainer.race import Race, prepared, race
from bench.trainer.table import lines_of
from bench.trainer.works import Work

WORK = Work(
    name="gpu",
    title="0.7 B parameters, 32 x 8, 256 forced tokens after 256",
    model="llama-700m",
    prompts=32,
    group=8,
    prompt_tokens=256,
    max_new_tokens=256,
    is_forced=True,
    device="gpu",
    warm_up=1,
    rounds=5,
    reach=1.0,
)
MFU_REACH, ESTIMATE_REACH = 0.4, 0.25
BFLOAT16_TFLOPS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
}
"""Dense, by a part of the card's name; the first that fits counts."""
FOLDER = Path("build/bench/trainer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one side makes of the card."""

    sampling: float
    """Tokens a second, rewards included."""
    update: float
    """Trained response tokens a second."""
    mfu: float | None
    """None where the card's speed is not known."""


def main() -> None:
    options = _options()
    if not torch.cuda.is_available():
        raise SystemExit("this bench needs a CUDA device and this machine has none")
    if version("trl") is None:
        raise SystemExit("trl not installed: make test-peers installs it")
    work = WORK if options.rounds is None else replace(WORK, rounds=options.rounds)
    options.folder.mkdir(parents=True, exist_ok=True)
    order = prepared(work, options.folder, some_core())
    told, card = race(order, print), torch.cuda.get_device_name()
    figure = Figure(name=work.name, title=work.title, race=told, reach=work.reach)
    print(f"\n{card}, TRL {version('trl')}, torch {torch.__version__}\n")
    print("\n".join(lines_of([figure], [])))
    speeds = report(order, told, tflops=options.tflops or card_tflops(card))
    if options.json is not None:
        document = {"card": card, "speeds": speeds, **figure.document()}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def report(order: Order, told: Race, *, tflops: float | None) -> dict[str, dict[str, float | None]]:
    """Prints and returns the speeds of both sides, after the peak of memory against the estimate."""
    facts = facts_of(order.model)
    assert facts is not None
    peak, estimated = told.median("ours", "peak_bytes"), estimated_bytes(order, facts)
    print(
        f"peak memory {peak / 1e9:.2f} GB, estimated {estimated / 1e9:.2f} GB: {estimated / peak:.2f} of it"
    )
    speeds: dict[str, dict[str, float | None]] = {}
    for side in ("ours", "peer"):
        one = speed(order.work, facts, told, side=side, tflops=tflops)
        mfu = "not known" if one.mfu is None else f"{one.mfu:.1%}"
        print(f"{side}: sampling {one.sampling:,.0f} tokens/s, update {one.update:,.0f} tokens/s, MFU {mfu}")
        speeds[side] = {"sampling": one.sampling, "update": one.update, "mfu": one.mfu}
    return speeds


def speed(work: Work, facts: ModelFacts, told: Race, *, side: str, tflops: float | None) -> Speed:
    """The speeds of a side; TRL's old log-probabilities belong to neither sampling nor update."""
    sampling = "generate_seconds" if side == "peer" else "sampling_seconds"
    tokens, update = told.median(side, "tokens"), told.median(side, "update_seconds")
    return Speed(
        sampling=tokens / told.median(side, sampling),
        update=tokens / update,
        mfu=None if tflops is None else update_flops(work, facts) / update / (1e12 * tflops),
    )


def update_flops(work: Work, facts: ModelFacts) -> float:
    """Floating-point operations that the updates of a rollout need."""
    assert facts.vocabulary is not None
    assert facts.hidden is not None
    head = facts.vocabulary * facts.hidden
    embeddings = head if facts.is_tied else 2 * head
    responses = work.responses * work.max_new_tokens
    tokens = work.prompts * work.prompt_tokens + responses
    return 6.0 * ((facts.parameters - embeddings) * tokens + head * responses)


def estimated_bytes(order: Order, facts: ModelFacts) -> float:
    """What the service would say of the job's memory."""
    told = estimate(job_of(order.work), facts, DataFacts(characters=3 * order.work.prompt_tokens))
    assert told.memory_bytes is not None
    return float(told.memory_bytes)


def card_tflops(name: str) -> float | None:
    """The card's dense speed in bfloat16."""
    return next((speed for part, speed in BFLOAT16_TFLOPS.items() if part in name), None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help=f"rounds that count (default {WORK.rounds})")
    parser.add_argument("--tflops", type=float, help="dense speed of the card in bfloat16, TFLOP/s")
    parser.add_argument("--json", type=Path, help="write every round here")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="models and logs (default %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
