"""The policy: a causal language model with its tokenizer, which samples, is trained and can be saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer

from espo_contracts.spec import Lora, ModelSpec
from espo_core.attention import ATTENTION, Layout
from espo_core.distributed.replicas import plain_state, run_below_head
from espo_core.errors import ModelError
from espo_core.forest import Forest
from espo_core.fused import FusedModel, fused
from espo_core.loading import ModelSource, load_model, load_tokenizer
from espo_core.logprobs import Head
from espo_core.randomness import seed_everything

if TYPE_CHECKING:
    from espo_core.adapters import Adapters

# Logits of two ways to compute the same differ by less.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A model with what sampling from it and training it need to know."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    spec: ModelSpec
    adapters: Adapters | None = None
    fused: FusedModel | None = None
    """The layers written out, where the model allows it; they share its weights."""

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def weight(self) -> Tensor:
        """[V, H] output weight, that of an adapted output layer included."""
        layer = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        weight: Tensor = layer.weight if self.adapters is None else self.adapters.weight_of(layer)
        return weight

    def head(self, temperature: float = 1.0) -> Head:
        """The output layer under a temperature."""
        config = self.model.config
        scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
        cap = getattr(config, "final_logit_softcapping", None)
        return Head(weight=self.weight, scale=scale, cap=cap, temperature=temperature)

    @property
    def vocab_size(self) -> int:
        """V, the rows of the output weight."""
        return int(self.weight.shape[0])

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.weight.dtype

    @property
    def eos_ids(self) -> list[int]:
        """Tokens that end a response."""
        ids = self.model.generation_config.eos_token_id
        ids = self.tokenizer.eos_token_id if ids is None else ids
        return [ids] if isinstance(ids, int) else list(ids or [])

    @property
    def decodes_at_once(self) -> bool:
        """Whether one further token a row is one compiled graph of all layers."""
        return self.fused is not None and self.fused.decodes_at_once

    def states(self, ids: Tensor, positions: Tensor, layout: Layout) -> Tensor:
        """[N, H] last hidden states below the output layer.

        Args:
            ids: [N] int64 tokens of any number of sequences.
            positions: [N] int64 place of each in its sequence.
            layout: which of them see which.
        """
        if self.fused is not None:
            return self.fused.states(ids, positions, layout)
        return run_below_head(
            self.model, input_ids=ids[None], position_ids=positions[None], layout=layout, use_cache=False
        )[0]

    def read(self, forest: Forest) -> Tensor:
        """[N, H] states of the nodes of a forest."""
        return self.states(forest.ids, forest.positions, forest)

    def autocast(self) -> AbstractContextManager[object]:
        """Matrix products in bfloat16 where the job asks for it."""
        if not self.spec.autocast:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Parameters that get a gradient, by name."""
        return {name: one for name, one in self.model.named_parameters() if one.requires_grad}

    @contextmanager
    def dropout(self) -> Iterator[None]:
        """The adapters' dropout on; the model's own stays off, as it is in sampling."""
        if self.adapters is not None:
            self.adapters.set_dropout(True)
        yield
        if self.adapters is not None:
            self.adapters.set_dropout(False)

    def save(self, folder: Path) -> None:
        """Writes a Hugging Face folder; adapters as the job asks, merged into a copy of the weights that they
        change, or alone in a peft folder."""
        if self.adapters is None:
            self.model.save_pretrained(folder, state_dict=plain_state(self.model))
        elif self.spec.lora is not None and self.spec.lora.save_as == "adapters":
            self.adapters.save(folder, base=self.spec.hub.id if self.spec.hub else str(self.spec.name))
        else:
            self.adapters.merged().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def load_policy(spec: ModelSpec, *, folder: Path | None, device: torch.device, seed: int) -> Policy:
    """The policy of a job from `folder`, or from the hub where it is None.

    Raises:
        ModelError: the model cannot be found or used; the message says what to do.
    """
    source = ModelSource.of(spec, folder)
    tokenizer = load_tokenizer(source)
    model = load_model(source, dtype=spec.dtype)
    nn.Module.to(model, device)
    nn.Module.eval(model)
    policy = Policy(model=model, tokenizer=tokenizer, spec=spec, adapters=_adapters(model, spec.lora, seed))
    _check(policy, source)
    return policy


def ready_to_train(policy: Policy, *, checkpointing: bool, compiled: bool, is_whole: bool) -> Policy:
    """The policy in its fastest form; in its modules with checkpointing or weights that are to be cut."""
    if checkpointing:
        model: Any = policy.model
        model.activation_checkpointing_enable()
        # Layers check this flag of their own; their parts stay as they are in sampling, without dropout.
        for layer in model.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                layer.training = True
    elif is_whole:
        policy = with_fused_layers(policy)
    if compiled:
        _compile(policy)
    return policy


def _compile(policy: Policy) -> None:
    if policy.fused is not None:
        policy.fused.compile()
        return
    for layer in policy.model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            nn.Module.compile(layer)


def with_fused_layers(policy: Policy) -> Policy:
    """The policy with its layers written out, if it is of a kind that we know; the same if not.

    Adapters have modules of their own in the layers, and autocast treats modules one by one.
    """
    is_plain = policy.adapters is None and not policy.spec.autocast
    candidate = fused(policy.model) if is_plain else None
    written_out = replace(policy, fused=candidate)
    return written_out if candidate is not None and _is_computed_alike(written_out) else policy


def _adapters(model: PreTrainedModel, lora: Lora | None, seed: int) -> Adapters | None:
    if lora is None:
        return None
    from espo_core.adapters import inject  # peft takes over a second to import

    seed_everything(seed, "adapters")
    adapters = inject(model, lora)
    nn.Module.eval(model)
    return adapters


def _check(policy: Policy, source: ModelSource) -> None:
    """Raise ModelError unless responses can end, and we compute logits as the model does."""
    if not policy.eos_ids:
        raise ModelError(
            f"model {source.name!r} names no end-of-sequence token",
            hint="Set eos_token in its tokenizer_config.json or eos_token_id in its generation_config.json.",
        )
    if not _is_computed_alike(policy):
        raise ModelError(
            f"model {source.name!r} computes its logits in a way that this trainer does not support",
            hint="Use a model with plain attention in every layer and an output layer that is a product, "
            "scaled or capped: Llama, SmolLM2, Qwen2.5, Qwen3, Mistral, Granite.",
        )


@torch.no_grad()
def _is_computed_alike(policy: Policy) -> bool:
    """Whether a forest of two sequences gives the logits that the library gives for each."""
    ids = np.arange(2 * 8).reshape(2, 8) % policy.vocab_size
    ids[1, :3] = ids[0, :3]
    forest = Forest(ids, np.array([8, 8]), device=policy.device)
    ours = policy.head().logits(policy.read(forest)[forest.on_device(forest.paths[forest.order.argsort()])])
    policy.model.set_attn_implementation("sdpa")
    try:
        theirs = policy.model(input_ids=torch.from_numpy(ids).to(policy.device), use_cache=False).logits
    finally:
        policy.model.set_attn_implementation(ATTENTION)
    return ours.shape == theirs.shape and torch.allclose(
        ours,
        theirs.to(ours.dtype),
        rtol=TOLERANCE[policy.dtype],
        atol=TOLERANCE[policy.dtype],
        equal_nan=True,
    )
