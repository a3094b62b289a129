"""TRL's own loss: `GRPOTrainer._compute_loss` on a trainer that has no model and is handed its log-probs.

Legend: R responses, L tokens of the longest response.
"""

import inspect
import textwrap
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor

from bench.peers.installed import load
from bench.peers.padded import Padded

MODULE = "trl.trainer.grpo_trainer"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlLoss:
    """A configuration of TRL's loss; the names are those of GRPOConfig."""

    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo"]
    importance_sampling_level: Literal["token", "sequence"] = "token"
    epsilon: float = 0.2
    epsilon_high: float = 0.2
    delta: float | None = None
    beta: float = 0.0
    max_completion_length: int = 1024
    sapo_temperature_pos: float = 1.0
    sapo_temperature_neg: float = 1.05

    def __call__(self, batch: Padded) -> Tensor:
        """[] the loss of the batch in one process and one accumulation step."""
        return self.bind(batch)()

    def bind(self, batch: Padded, *, whole: bool = True) -> Callable[[], Tensor]:
        """The loss of the batch as a call without arguments: the whole method or its arithmetic alone."""
        trainer_class = load(MODULE).GRPOTrainer
        trainer = trainer_class.__new__(trainer_class)
        trainer.__dict__ |= self._attributes(batch)
        compute = trainer_class._compute_loss if whole else _arithmetic(trainer_class)
        inputs = _inputs(batch)
        return lambda: compute(trainer, None, inputs)

    def _attributes(self, batch: Padded) -> dict[str, Any]:
        """What `_compute_loss` reads of a trainer, as after its construction in one process."""
        entropies = torch.zeros_like(batch.logp_old)
        return {
            "_get_per_token_logps_and_entropies": lambda *_, **__: (batch.logp, entropies, None),
            "args": self._arguments(),
            "accelerator": _one_process(),
            "model": SimpleNamespace(training=True),
            "loss_type": self.loss_type,
            "importance_sampling_level": self.importance_sampling_level,
            "epsilon_low": self.epsilon,
            "epsilon_high": self.epsilon_high,
            "beta": self.beta,
            "max_completion_length": self.max_completion_length,
            "top_entropy_quantile": 1.0,
            "off_policy_mask_threshold": None,
            "use_vllm": False,
            "aux_loss_enabled": False,
            "_entropy_bonus_enabled": False,
            "current_gradient_accumulation_steps": 1,
            "_metrics": {"train": defaultdict(list)},
        }

    def _arguments(self) -> SimpleNamespace:
        return SimpleNamespace(
            delta=self.delta,
            use_bias_correction_kl=False,
            steps_per_generation=1,
            sapo_temperature_pos=self.sapo_temperature_pos,
            sapo_temperature_neg=self.sapo_temperature_neg,
        )


def trl_advantages(reward: Tensor, verified: Tensor, *, group: int, scale: str) -> Tensor:
    """[R] TRL's advantages of one reward function, `group` responses to a prompt; `scale` as `scale_rewards`.

    They are computed in the middle of `_generate_and_score_completions`: these lines of it are run.
    """
    trainer = SimpleNamespace(
        multi_objective_aggregation="sum_then_normalize",
        reward_weights=torch.ones(1, dtype=reward.dtype),
        scale_rewards=scale,
    )
    rewards = reward.where(verified, torch.nan)[:, None]
    advantages = _lines_of_advantages()(trainer, rewards, ~verified, group, reward.device)
    assert isinstance(advantages, Tensor)
    return advantages


def _inputs(batch: Padded) -> dict[str, Tensor]:
    prompt = batch.mask.new_zeros(batch.mask.shape[0], 1)
    return {
        "prompt_ids": prompt,
        "prompt_mask": prompt,
        "completion_ids": batch.mask,
        "completion_mask": batch.mask,
        "advantages": batch.advantage,
        "old_per_token_logps": batch.logp_old,
        "ref_per_token_logps": batch.logp_ref,
        "num_items_in_batch": batch.mask.sum(),
    }


def _one_process() -> SimpleNamespace:
    return SimpleNamespace(
        num_processes=1, gather=lambda values: values, reduce=lambda values, reduction: values
    )


def _arithmetic(trainer_class: Any) -> Callable[..., Tensor]:
    """`_compute_loss` from its comment "Compute the loss" up to its comment "Log the metrics".

    What is left out joins prompts and completions for the model and reads metrics back from the device.
    """
    source = inspect.getsource(trainer_class._compute_loss)
    start, end = (source.find(f"        # {mark}\n") for mark in ("Compute the loss", "Log the metrics"))
    assert 0 < start < end, "TRL's _compute_loss has changed"
    head = """
        def arithmetic(self, model, inputs):
            per_token_logps, entropies, _ = self._get_per_token_logps_and_entropies()
            mask, entropy_mask = inputs["completion_mask"], None
        """
    body = textwrap.indent(textwrap.dedent(source[start:end]), "    ")
    return _compiled(f"{textwrap.dedent(head)}{body}    return loss\n", name="arithmetic")


def _lines_of_advantages() -> Callable[..., Tensor]:
    source = inspect.getsource(load(MODULE).GRPOTrainer._generate_and_score_completions)
    start = source.find('        if self.multi_objective_aggregation == "sum_then_normalize":\n')
    end = source.find("        # Slice to keep only the local part of the data\n")
    assert 0 < start < end, "TRL's _generate_and_score_completions has changed"
    head = "def advantages_of(self, rewards_per_func, unscorable_mask, num_generations, device):\n"
    body = textwrap.indent(textwrap.dedent(source[start:end]), "    ")
    return _compiled(head + body + "    return advantages\n", name="advantages_of")


def _compiled(source: str, *, name: str) -> Callable[..., Tensor]:
    """The function of this name, defined among the names of TRL's module."""
    namespace = dict(vars(load(MODULE)))
    exec(source, namespace)  # noqa: S102  the installed peer's own lines, nothing from outside
    function: Callable[..., Tensor] = namespace[name]
    return function
