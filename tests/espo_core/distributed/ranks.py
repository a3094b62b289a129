"""Two ranks of a run: `torchrun … -m tests.espo_core.distributed.ranks <file>`.

The file is a list of runs, each `{spec, work_dir, model, resume, stops_after_events}`, which the ranks make
one after another; the first rank writes each run's events into its folder. Before, both try what they can
tell each other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from espo_contracts.events import EVENT, Event
from espo_contracts.job import JobSpec
from espo_core.distributed.placing import load_on_ranks
from espo_core.distributed.world import World, joined_world
from espo_core.trainer import RunInputs, Trainer

EVENTS, TRIED = "events.jsonl", "tried-{rank}.json"
ROOT = Path(__file__).resolve().parents[3]


def run_on_two(runs: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, list[Event]]:
    """The events of runs by the names of their folders."""
    file = folder / "runs.json"
    file.write_text(json.dumps(runs, default=str))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "-m", __name__, str(file)], cwd=ROOT, env=environment, check=True, timeout=600)
    return {Path(run["work_dir"]).name: _events_of(Path(run["work_dir"])) for run in runs}


def _events_of(work_dir: Path) -> list[Event]:
    lines = (work_dir / EVENTS).read_text().splitlines()
    return [EVENT.validate_json(line) for line in lines]


def main(file: Path) -> None:
    runs = json.loads(file.read_text())
    spec = JobSpec.model_validate(runs[0]["spec"])
    with joined_world(spec.resources) as world:
        told = try_out(world) | {"cut": cut_numbers(runs[0], world)}
        (file.parent / TRIED.format(rank=world.rank)).write_text(json.dumps(told))
        for run in runs:
            _run(run, world)


def try_out(world: World) -> dict[str, Any]:
    """What a rank hears when both tell something."""
    sums = [torch.full((2,), 1.0 + world.rank), torch.tensor([world.rank])]
    world.sum_into(sums)
    apart = world.apart()
    return {
        "apart": apart.gathered(world.rank) + apart.joined(torch.ones(world.rank)).tolist(),
        "nothing": world.joined(torch.zeros(0)).tolist(),
        "numbers": world.joined(torch.arange(3 * world.rank)).tolist(),
        "truths": world.joined(torch.tensor([True] * (2 - world.rank))).tolist(),
        "rows": world.joined(torch.full((1 + world.rank, 2), float(world.rank))).tolist(),
        "documents": world.gathered({"rank": world.rank, "text": "ä" * world.rank}),
        "sums": [one.tolist() for one in sums],
        "total": world.total(0.5 + world.rank),
    }


def cut_numbers(run: dict[str, Any], world: World) -> list[int]:
    """How many of a model's numbers lie on this rank where it is cut, and how many there are."""
    spec = JobSpec.model_validate(run["spec"])
    spec = spec.model_copy(update={"resources": spec.resources.model_copy(update={"sharding": "sharded"})})
    folder, device = Path(run["model"]), torch.device("cpu")
    policy, _ = load_on_ranks(spec, folder=folder, device=device, world=world)
    weights = policy.trainable().values()
    return [sum(one.to_local().numel() for one in weights), sum(one.numel() for one in weights)]  # type: ignore[attr-defined]


def _run(run: dict[str, Any], world: World) -> None:
    work_dir, events = Path(run["work_dir"]), list[str]()
    inputs = RunInputs(
        spec=JobSpec.model_validate(run["spec"]),
        work_dir=work_dir,
        model=Path(run["model"]),
        resume=Path(run["resume"]) if "resume" in run else None,
        world=world,
        # As in the service: only the first rank can be relied on to be told in time.
        must_stop=lambda: world.is_first and len(events) > run.get("stops_after_events", 1000),
    )
    Trainer(inputs, lambda event: events.append(event.model_dump_json())).run()
    if world.is_first:
        (work_dir / EVENTS).write_text("\n".join(events))
    else:
        assert events == []


if __name__ == "__main__":
    main(Path(sys.argv[1]))
