"""ESPO's objective alone, on as many tokens as the updates of a rollout have."""

from __future__ import annotations

import torch

from bench.objective import SPREAD, update
from bench.peers.random_batch import Size, random_batch
from bench.trainer.order import Order
from bench.trainer.turns import Turns
from espo_core.objectives import get_objective


def play(turns: Turns, order: Order) -> None:
    """Forward and backward of every mini-batch of a rollout, whenever it is asked."""
    work, objective = order.work, get_objective("espo")
    size = Size(
        responses=work.responses // work.mini_batches,
        group=work.group,
        shortest=work.max_new_tokens,
        longest=work.max_new_tokens,
    )
    batches = [
        objective.prepare(random_batch(size, seed=seed, dtype=torch.float32, spread=SPREAD))
        for seed in range(work.mini_batches)
    ]
    runs = [update(objective, batch, whole=False) for batch in batches]
    turns.answer()
    while True:
        turns.wait()
        for run in runs:
            run()
        turns.answer()
