"""Our loss and its gradient on a fixed rollout, which is left for the other side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.trainer.order import Order
from bench.trainer.turns import Over, Turns
from espo_contracts.events import Event, Metrics
from espo_core.report import Turn
from espo_core.trainer import Trainer

SPREAD = 0.15
"""Of log π_θ − log π_old: some ratios are then clipped at 0.2."""


def play(turns: Turns, order: Order) -> None:
    """Tells the loss and the gradient's norm of one update on a rollout from another policy."""

    def emit(event: Event) -> None:
        if isinstance(event, Metrics):
            values = event.values
            turns.answer(loss=values["policy/loss"], gradient_norm=values["optimiser/gradient_norm"])
            raise Over

    whole = replace(order, work=replace(order.work, mini_batches=1))
    trainer = _OffPolicy(whole.inputs(), emit)
    trainer.left = order.scratch / "fixed.json"
    trainer.run()


class _OffPolicy(Trainer):
    """Trains on its responses as if another policy had sampled them, and leaves them in a file."""

    left: Path

    def _judge(self, *args: Any, **kwargs: Any) -> Turn:
        turn = super()._judge(*args, **kwargs)
        noise = torch.randn(len(turn.rollout.logp), generator=torch.Generator().manual_seed(0))
        turn = replace(turn, rollout=replace(turn.rollout, logp=turn.rollout.logp + SPREAD * noise))
        self.left.write_text(json.dumps(_document(turn)), encoding="utf-8")
        return turn


def _document(turn: Turn) -> dict[str, object]:
    """Prompts and responses as tokens, and of each response its old log-probabilities and its advantage."""
    lengths = turn.rollout.lengths.tolist()
    return {
        "prompts": [list(prompt.tokens) for prompt in turn.prompts for _ in range(turn.group)],
        "responses": turn.rollout.split(),
        "old_logprobs": [part.tolist() for part in torch.split(turn.rollout.logp, lengths)],
        "advantages": turn.advantage.tolist(),
    }
