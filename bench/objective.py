"""Time and memory of every objective beside TRL's grpo loss: `python -m bench.objective`.

One update's objective, forward and backward, for 256 responses of 64 to 512 tokens: ours packed, TRL's on the
padded equivalent, one after the other in every round, float32, one thread. TRL's is its trainer's own method,
once whole and once without its metrics, and so is ours: the arithmetic alone, and with what it measures.
Times are the process's own processor time: what else the machine does is not in them.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.peers.installed import missing, version
from bench.peers.padded import Padded, padded
from bench.peers.random_batch import Size, random_batch
from bench.peers.trl_loss import TrlLoss
from espo_core.algorithms import ALGORITHMS
from espo_core.batch import TokenBatch
from espo_core.objectives import Objective, get_objective

SIZE = Size(responses=256, group=8, shortest=64, longest=512)
SPREAD = 0.05
"""Of log π_θ − log π_old: about what several updates a rollout batch make."""
WARM_UP = 3
TRL = "TRL's grpo, its arithmetic alone"
TRL_WHOLE = "TRL's grpo, the whole method"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    if reason := missing():
        raise SystemExit(reason)
    torch.set_num_threads(1)
    batch = random_batch(SIZE, seed=0, dtype=torch.float32, spread=SPREAD)
    objectives = {name: get_objective(name) for name in ALGORITHMS}
    seconds = interleaved(_runs(batch, objectives), rounds=rounds)
    rows = padded(batch)
    print(f"{SIZE.responses} responses, T = {batch.tokens} tokens, {rows.mask.numel()} padded;", end=" ")
    print(f"TRL {version('trl')}, torch {torch.__version__}, {rounds} rounds, medians")
    _print_table(seconds, {name: largest_allocation(one, batch) for name, one in objectives.items()}, batch)


def _runs(batch: TokenBatch, objectives: Mapping[str, Objective]) -> dict[str, Callable[[], object]]:
    rows = padded(batch)
    runs = {TRL: trl_update(rows, whole=False), TRL_WHOLE: trl_update(rows, whole=True)}
    for name, objective in objectives.items():
        prepared = objective.prepare(batch)
        runs[name] = update(objective, prepared, whole=False)
        runs[f"{name} whole"] = update(objective, prepared, whole=True)
        runs[f"{name} prepare"] = _preparation(objective, batch)
    return runs


def update(objective: Objective, batch: TokenBatch, *, whole: bool) -> Callable[[], object]:
    """Forward and backward of an objective on a mini-batch, to which it is fitted first."""

    def run() -> object:
        fitted = objective.fitted(batch)
        loss = fitted(batch).loss if whole else fitted.loss(batch)
        return torch.autograd.grad(loss, batch.logp)

    return run


def trl_update(rows: Padded, *, whole: bool) -> Callable[[], object]:
    """Forward and backward of TRL's grpo loss."""
    loss = TrlLoss(loss_type="grpo").bind(rows, whole=whole)
    return lambda: torch.autograd.grad(loss(), rows.logp)


def _preparation(objective: Objective, batch: TokenBatch) -> Callable[[], object]:
    return lambda: objective.prepare(batch)


def interleaved(runs: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Processor seconds of every run in every round, all of them once a round."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(-WARM_UP, rounds):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if round_ >= 0:
                seconds[name].append(time.process_time() - start)
    return seconds


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own gap
    """Keeps the size of the largest tensor that any operation has made."""

    elements: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, Tensor):
                size = value.untyped_storage().nbytes() // value.element_size()
                self.elements = max(self.elements, size)
        return out


def largest_allocation(objective: Objective, batch: TokenBatch) -> float:
    """Elements of the largest tensor made in preparation, forward and backward, in multiples of T."""
    with _Largest() as largest:  # type: ignore[no-untyped-call]  # torch's own gap
        update(objective, objective.prepare(batch), whole=True)()
    return float(largest.elements / batch.tokens)


def _print_table(
    seconds: Mapping[str, list[float]], allocation: Mapping[str, float], batch: TokenBatch
) -> None:
    print(
        "| | arithmetic, ms | of TRL's | with metrics, ms | of TRL's | prepared, ms | largest tensor, in T |"
    )
    print("|---|---|---|---|---|---|---|")
    padding = f"{padded(batch).mask.numel() / batch.tokens:.2f}"
    print(f"| TRL's grpo | {_ms(seconds[TRL])} | 1 | {_ms(seconds[TRL_WHOLE])} | 1 | | {padding} |")
    for name, size in allocation.items():
        alone, whole = _cells(seconds, name, TRL), _cells(seconds, f"{name} whole", TRL_WHOLE)
        print(f"| {name} | {alone} | {whole} | {_ms(seconds[f'{name} prepare'])} | {size:.2f} |")


def _cells(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> str:
    """The time and the median of the ratios of the rounds, where a slow moment weighs on both."""
    ratios = [one / other for one, other in zip(seconds[ours], seconds[theirs], strict=True)]
    return f"{_ms(seconds[ours])} | {statistics.median(ratios):.2f}"


def _ms(seconds: list[float]) -> str:
    return f"{1000 * statistics.median(seconds):.2f}"


if __name__ == "__main__":
    main()
