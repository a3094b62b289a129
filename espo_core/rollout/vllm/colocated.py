"""vLLM in the trainer's process and on its GPU, whose memory it gives back while the policy is updated."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from espo_core.errors import ConfigError
from espo_core.policy import Policy
from espo_core.rollout.vllm.wording import Answer, Question, heard

# The weights are handed over as tensors, which takes one process; and nobody is told that it runs.
ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Colocated:
    """A `vllm.LLM`, asleep between rollouts on a GPU: its memory is then free but for a few buffers."""

    llm: Any
    parameters: Any
    """`vllm.SamplingParams`."""
    can_sleep: bool

    @torch.no_grad()
    def load(self, model: PreTrainedModel) -> None:
        """Copies the weights from the trainer's."""
        if self.can_sleep:
            torch.cuda.empty_cache()
            self.llm.wake_up(tags=["weights"])
        named = ((name, one.detach()) for name, one in model.named_parameters())
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": named})
        self.llm.reset_prefix_cache()

    def answers(self, asked: Sequence[Question]) -> list[list[Answer]]:
        """The responses to each prompt."""
        if self.can_sleep:
            self.llm.wake_up(tags=["kv_cache"])
        outputs = self.llm.generate(
            [{"prompt_token_ids": list(one.prompt)} for one in asked],
            [self.parameters(**one.arguments) for one in asked],
            use_tqdm=False,
        )
        self.sleep()
        return [heard(one.outputs) for one in outputs]

    def sleep(self) -> None:
        """Gives the memory back, where it can."""
        if self.can_sleep:
            # Level 2 forgets the weights, which are loaded anew anyway; level 1 would copy them to the host.
            self.llm.sleep(level=2)


def colocated(policy: Policy, *, memory: float, max_tokens: int) -> Colocated:
    """A vLLM for the policy's model, still without its weights; `max_tokens` is of a prompt and its response.

    Raises:
        ConfigError: vLLM is not installed.
    """
    os.environ.update(ENVIRONMENT)
    vllm = _installed()
    on_gpu = policy.device.type == "cuda"
    # It reads the shape of the model and the tokenizer from a folder, and the weights from us.
    with tempfile.TemporaryDirectory(prefix="espo-vllm-") as folder:
        policy.model.config.save_pretrained(folder)
        policy.tokenizer.save_pretrained(folder)
        llm = vllm.LLM(
            model=str(Path(folder)),
            load_format="dummy",
            dtype=str(policy.dtype).removeprefix("torch."),
            max_model_len=min(max_tokens, policy.model.config.max_position_embeddings),
            gpu_memory_utilization=memory,
            enable_sleep_mode=on_gpu,
            logprobs_mode="processed_logprobs",
            generation_config="vllm",
        )
    backend = Colocated(llm=llm, parameters=vllm.SamplingParams, can_sleep=on_gpu)
    backend.sleep()
    return backend


def _installed() -> Any:
    """The vllm package."""
    try:
        return importlib.import_module("vllm")
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise
        raise ConfigError(
            "rollout.engine is vllm, but this worker has no vLLM",
            hint="Leave rollout.engine native; or the operator installs espo[vllm], or names a server by "
            "ESPO_VLLM_URL.",
        ) from None
