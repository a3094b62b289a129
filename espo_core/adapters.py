"""Low-rank adapters (arXiv:2106.09685) inside a model, by peft."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from espo_contracts.spec import Lora
from espo_core.distributed.replicas import plain_state
from espo_core.errors import ConfigError

ADAPTER = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """The adapters that were put into a model; every other weight of it is frozen."""

    model: PreTrainedModel
    config: LoraConfig

    def layers(self) -> Iterator[tuple[str, Any]]:
        """Adapted layers by name: modules that are also peft's LoraLayer."""
        return ((name, one) for name, one in self.model.named_modules() if isinstance(one, LoraLayer))

    def weight_of(self, layer: nn.Module) -> Tensor:
        """The weight of a layer with its adapter, if it has one that is on: W + (alpha / r) B A."""
        weight: Tensor = layer.weight  # type: ignore[assignment]
        if not isinstance(layer, LoraLayer) or layer._disable_adapters:
            return weight
        delta: Tensor = cast("Any", layer).get_delta_weight(ADAPTER)
        return weight + delta.to(weight.dtype)

    def set_dropout(self, active: bool) -> None:
        """Switches dropout on the adapters' inputs."""
        for _, layer in self.layers():
            layer.lora_dropout.train(active)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The base model, for the time of the block."""
        for _, layer in self.layers():
            layer._disable_adapters = True
        try:
            yield
        finally:
            for _, layer in self.layers():
                layer._disable_adapters = False

    @torch.no_grad()
    def merged(self) -> PreTrainedModel:
        """A model like the one before the adapters, W + (alpha / r) B A in the adapted layers.

        It shares the memory of the other weights; the model that is trained does not change.
        """
        weights = {
            name.replace(".base_layer.", "."): value
            for name, value in plain_state(self.model).items()
            if ".lora_" not in name
        }
        for name, layer in self.layers():
            weights[f"{name}.weight"] = self.weight_of(layer)
        return _model_of(self.model, weights)

    def save(self, folder: Path, *, base: str) -> None:
        """Writes a peft folder of the adapters alone; `base` is the name of the model that they belong to."""
        tensors = {
            f"base_model.model.{name.replace(f'.{ADAPTER}.', '.')}": one.detach().contiguous()
            for name, one in self.model.named_parameters()
            if ".lora_" in name
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config = copy.deepcopy(self.config)
        config.base_model_name_or_path, config.inference_mode = base, True
        config.save_pretrained(str(folder))


def inject(model: PreTrainedModel, spec: Lora) -> Adapters:
    """Puts adapters into a model and freezes the rest of it.

    Raises:
        ConfigError: `target_modules` names a layer that the model does not have.
    """
    targets = spec.target_modules
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,  # type: ignore[arg-type]  # peft divides by the rank, any number will do
        lora_dropout=spec.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    _check_targets(model, spec)
    inject_adapter_in_model(config, model, adapter_name=ADAPTER)
    return Adapters(model=model, config=config)


def _check_targets(model: PreTrainedModel, spec: Lora) -> None:
    targets = spec.target_modules
    linear = {name.rpartition(".")[2] for name, one in model.named_modules() if isinstance(one, nn.Linear)}
    missing = [] if isinstance(targets, str) else sorted(set(targets) - linear)
    if missing:
        raise ConfigError(
            f"model.lora.target_modules: the model has no layer {', '.join(missing)}",
            hint=f"Its linear layers are {', '.join(sorted(linear))}; or use all-linear.",
        )

    head = next(name for name, one in model.named_modules() if one is model.get_output_embeddings())  # type: ignore[no-untyped-call]
    if not isinstance(targets, str) and head in targets and spec.dropout:
        raise ConfigError(
            f"model.lora.dropout cannot be used with an adapter on {head}",
            hint=f"Set model.lora.dropout to 0, or leave {head} out of target_modules.",
        )


def _model_of(like: PreTrainedModel, weights: dict[str, Tensor]) -> PreTrainedModel:
    config = copy.deepcopy(like.config)
    if isinstance(like.get_output_embeddings(), LoraLayer):  # type: ignore[no-untyped-call]
        config.tie_word_embeddings = False  # the output layer is no longer the embedding
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.load_state_dict(weights, strict=True, assign=True)
    model.tie_weights()
    model.generation_config = copy.deepcopy(like.generation_config)
    return model
