"""The policy: a causal language model with its tokenizer, which samples, is trained and can be saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from espo_contracts.spec import Lora, ModelSpec
from espo_core.errors import ModelError
from espo_core.loading import ModelSource, load_model, load_tokenizer
from espo_core.randomness import seed_everything

if TYPE_CHECKING:
    from espo_core.adapters import Adapters


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A model with what sampling from it and training it need to know."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    adapters: Adapters | None = None

    @property
    def device(self) -> torch.device:
        return self.weight.device

    @property
    def weight(self) -> Tensor:
        """[V, H] output weight."""
        weight: Tensor = self.model.get_output_embeddings().weight  # type: ignore[no-untyped-call]
        return weight

    @property
    def vocab_size(self) -> int:
        """V, the rows of the output weight."""
        return int(self.weight.shape[0])

    @property
    def eos_ids(self) -> list[int]:
        """Tokens that end a response."""
        ids = self.model.generation_config.eos_token_id
        ids = self.tokenizer.eos_token_id if ids is None else ids
        return [ids] if isinstance(ids, int) else list(ids or [])

    @property
    def pad_id(self) -> int:
        """Filler whose value never matters: it is masked, or stands after all that is read."""
        given = (self.tokenizer.pad_token_id, *self.eos_ids, 0)
        return int(next(one for one in given if one is not None))

    def hidden(self, **inputs: Any) -> Tensor:
        """[B, L, H] last hidden states below the output layer."""
        states: Tensor = self.model.base_model(**inputs).last_hidden_state
        return states

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
        """Writes a Hugging Face folder; adapters are merged into a copy of the weights that they change."""
        model = self.model if self.adapters is None else self.adapters.merged()
        model.save_pretrained(folder)
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
    policy = Policy(model=model, tokenizer=tokenizer, adapters=_adapters(model, spec.lora, seed))
    _check(policy, source)
    return policy


def _adapters(model: PreTrainedModel, lora: Lora | None, seed: int) -> Adapters | None:
    if lora is None:
        return None
    from espo_core.adapters import inject  # peft takes over a second to import

    seed_everything(seed, "adapters")
    adapters = inject(model, lora)
    nn.Module.eval(model)
    return adapters


def _check(policy: Policy, source: ModelSource) -> None:
    """Raise ModelError unless responses can end and the output layer is a plain product."""
    if not policy.eos_ids:
        raise ModelError(
            f"model {source.name!r} names no end-of-sequence token",
            hint="Set eos_token in its tokenizer_config.json or eos_token_id in its generation_config.json.",
        )
    with torch.no_grad():
        ids = torch.arange(min(8, policy.vocab_size), device=policy.device)[None]
        logits = policy.model(input_ids=ids, use_cache=False).logits
        product = policy.hidden(input_ids=ids, use_cache=False) @ policy.weight.T
    is_equal = logits.shape == product.shape and torch.allclose(
        logits, product, rtol=1e-3, atol=1e-3, equal_nan=True
    )
    if not is_equal:
        raise ModelError(
            f"model {source.name!r} computes its logits in a way that this trainer does not support",
            hint="Use a model whose output layer is a matrix product without bias, scale or cap, "
            "such as Llama, Qwen or Mistral.",
        )
