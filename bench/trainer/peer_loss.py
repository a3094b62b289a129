"""TRL's loss and its gradient on the rollout that our side left."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from bench.trainer.order import Order
from bench.trainer.peer import make_trainer
from bench.trainer.turns import Turns


def play(turns: Turns, order: Order) -> None:
    """Tells the loss and the gradient's norm of TRL's own `_compute_loss`."""
    trainer = make_trainer(order, order.asked())
    trainer.facts, trainer.current_gradient_accumulation_steps = {}, 1
    trainer.model.train()
    fixed = json.loads((order.scratch / "fixed.json").read_text(encoding="utf-8"))
    loss = trainer._compute_loss(trainer.model, inputs_of(fixed, pad=trainer.processing_class.pad_token_id))
    loss.backward()
    norm = nn.utils.clip_grad_norm_(trainer.model.parameters(), float("inf"))
    turns.answer(loss=float(loss), gradient_norm=float(norm))


def inputs_of(fixed: dict[str, Any], *, pad: int) -> dict[str, Tensor]:
    """What `_compute_loss` reads: prompts padded on the left, responses on the right."""
    responses = [torch.tensor(tokens) for tokens in fixed["responses"]]
    prompts = [torch.tensor(tokens) for tokens in fixed["prompts"]]
    old = [torch.tensor(values) for values in fixed["old_logprobs"]]
    mask = pad_sequence([torch.ones_like(one) for one in responses], batch_first=True)
    return {
        "prompt_ids": pad_sequence(prompts, batch_first=True, padding_value=pad, padding_side="left"),
        "prompt_mask": pad_sequence(
            [torch.ones_like(one) for one in prompts], batch_first=True, padding_side="left"
        ),
        "completion_ids": pad_sequence(responses, batch_first=True, padding_value=pad),
        "completion_mask": mask,
        "old_per_token_logps": pad_sequence(old, batch_first=True),
        "advantages": torch.tensor(fixed["advantages"]),
        "num_items_in_batch": mask.sum(),
    }
