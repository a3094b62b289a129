"""Our engine's process: the responses of one rollout a turn."""

from __future__ import annotations

from bench.trainer.order import Order
from bench.trainer.turns import Turns
from espo_core.data import load_data
from espo_core.device import prepare_device
from espo_core.policy import load_policy, ready_to_train
from espo_core.rollout.native import NativeEngine
from espo_core.setup import sampling_of


def play(turns: Turns, order: Order) -> None:
    """Samples whenever it is asked."""
    spec = order.spec()
    device = prepare_device(spec.resources)
    policy = load_policy(spec.model, folder=order.model, device=device, seed=spec.seed)
    policy = ready_to_train(policy, checkpointing=False, compiled=spec.resources.compile, is_whole=True)
    engine, sampling = NativeEngine(policy=policy), sampling_of(spec.rollout)
    data = load_data(spec.data, policy.tokenizer, file=order.rows)
    prompts = [prompt.tokens for prompt in data.train]
    turns.answer()
    for start in range(0, len(prompts), order.work.prompts):
        turns.wait()
        rollout = engine.generate(prompts[start : start + order.work.prompts], sampling, seed=start)
        turns.answer(tokens=len(rollout.tokens))
