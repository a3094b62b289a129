"""TRL's process: a rollout and its updates a turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from bench.peers.installed import load
from bench.trainer.machine import Clock
from bench.trainer.order import ENDLESS, Order
from bench.trainer.prompts import Row, reward_of
from bench.trainer.turns import Facts, Turns
from bench.trainer.updates import Updates
from bench.trainer.works import BETA1, BETA2, LEARNING_RATE, MAX_GRADIENT_NORM, SEED, Work
from espo_core.verifiers import build_reward

MODULE = "trl.trainer.grpo_trainer"


def play(turns: Turns, order: Order) -> None:
    """The run waits for a turn whenever the updates of a rollout are done."""
    trainer = make_trainer(order, order.asked())
    trainer.add_callback(_Pause(turns, order.work, trainer))
    trainer.train()


def make_trainer(order: Order, rows: list[Row]) -> Any:
    """TRL's trainer, tuned, over these rows in this order."""
    model = AutoModelForCausalLM.from_pretrained(order.model, dtype=torch.float32, attn_implementation="sdpa")
    trainer_class = measured(load(MODULE).GRPOTrainer)
    return trainer_class(
        model=model,
        reward_funcs=_reward(order.work),
        args=load("trl").GRPOConfig(**settings(order.work, order.scratch)),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(order.model),
    )


def settings(work: Work, scratch: Path) -> dict[str, Any]:
    """The fields of GRPOConfig; its defaults (bfloat16, checkpointing) are nine times slower on a CPU."""
    forced = {"generation_kwargs": {"min_new_tokens": work.min_new_tokens}} if work.is_forced else {}
    same = {
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "adam_beta1": BETA1,
        "adam_beta2": BETA2,
        "weight_decay": 0.0,
        "max_grad_norm": MAX_GRADIENT_NORM,
        "per_device_train_batch_size": work.responses // work.mini_batches,
        "steps_per_generation": work.mini_batches,
        "num_generations": work.group,
        "max_completion_length": work.max_new_tokens,
        "shuffle_dataset": False,
        "max_steps": ENDLESS,
        "loss_type": "grpo",
        "beta": 0.0,
        "seed": SEED,
    }
    tuned = {
        "use_cpu": work.device == "cpu",
        "bf16": work.device == "gpu",
        "gradient_checkpointing": False,
        "optim": "adamw_torch_fused",
        "logging_strategy": "no",
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    return {"output_dir": str(scratch), **same, **tuned, **forced}


def measured(trainer_class: Any) -> Any:
    """The class with clocks around its parts and a count of its tokens."""

    class Measured(trainer_class):  # type: ignore[misc]
        facts: Facts

        def _generate(self, prompts: list[Any]) -> Any:
            began, out = Clock.now(), super()._generate(prompts)
            self.facts["generate_seconds"] = began.since()["wall"]
            lengths = [len(tokens) for tokens in out[1]]
            self.facts |= {"tokens": sum(lengths), "longest": max(lengths)}
            return out

        def _generate_and_score_completions(self, inputs: list[Any]) -> Any:
            self.facts = {}
            began, out = Clock.now(), super()._generate_and_score_completions(inputs)
            self.facts["sampling_seconds"] = began.since()["wall"]
            groups = out["advantages"].view(-1, self.num_generations)
            self.facts["equal_rewards"] = float((groups == 0).all(1).float().mean())
            return out

        def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
            began, out = Clock.now(), super()._get_per_token_logps_and_entropies(*args, **kwargs)
            if not torch.is_grad_enabled():
                self.facts["old_logprobs_seconds"] = began.since()["wall"]
            return out

    return Measured


class _Pause(TrainerCallback):
    """Ends a turn after the last update of a rollout."""

    def __init__(self, turns: Turns, work: Work, trainer: Any) -> None:
        self._turns, self._work, self._trainer, self._updates = turns, work, trainer, Updates()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        parameters = sum(one.numel() for one in self._trainer.model.parameters())
        self._turns.answer(parameters=parameters)
        self._turns.wait()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self._work.mini_batches == 0:
            facts = self._trainer.facts
            facts["update_seconds"] = self._turns.seconds() - facts["sampling_seconds"]
            self._turns.answer(**facts, updates=self._updates.taken())
            self._turns.wait()


def _reward(work: Work) -> Any:
    verifier = build_reward([reward_of(work)])[0].verifier

    def reward(completions: list[str], answer: list[str], **_: Any) -> list[float]:
        judged = zip(completions, answer, strict=True)
        return [verifier(text, {"answer": one}).score for text, one in judged]

    return reward
