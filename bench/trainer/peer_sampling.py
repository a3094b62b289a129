"""The process of transformers' `generate`, called as TRL calls it: the responses of one rollout a turn."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from bench.trainer.order import Order
from bench.trainer.prompts import read_rows
from bench.trainer.turns import Turns


@torch.no_grad()
def play(turns: Turns, order: Order) -> None:
    """Samples whenever it is asked."""
    work, rows = order.work, read_rows(order.rows)
    model: Any = AutoModelForCausalLM.from_pretrained(
        order.model, dtype=torch.float32, attn_implementation="sdpa"
    )
    tokenizer = AutoTokenizer.from_pretrained(order.model, padding_side="left")
    config = _config(order, tokenizer)
    turns.answer()
    for start in range(0, len(rows), work.prompts):
        turns.wait()
        asked = rows[start : start + work.prompts]
        texts = [row["prompt"] for row in asked for _ in range(work.group)]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
        ids = model.generate(**inputs, generation_config=config)
        turns.answer(tokens=ids[:, inputs["input_ids"].shape[1] :].numel())


def _config(order: Order, tokenizer: Any) -> Any:
    return GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=order.work.max_new_tokens,
        min_new_tokens=order.work.min_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        disable_compile=True,
    )
