"""Models and tokenizers from a folder or the hub: safetensors and JSON only, and never a model's own code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as hf_logging

from espo_contracts.spec import ModelSpec
from espo_core.attention import ATTENTION
from espo_core.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where a model comes from."""

    place: str
    revision: str | None = None
    """Of a hub model."""

    @classmethod
    def of(cls, spec: ModelSpec, folder: Path | None) -> ModelSource:
        """The folder if there is one, else the hub model of the specification.

        Raises:
            ModelError: there is neither.
        """
        if folder is not None:
            return cls.of_folder(folder)
        if spec.hub is None:
            raise ModelError(f"model {spec.name or spec.checkpoint!r} was not found")
        return cls(place=spec.hub.id, revision=spec.hub.revision)

    @classmethod
    def of_folder(cls, folder: Path) -> ModelSource:
        return cls(place=str(folder))

    @property
    def folder(self) -> Path | None:
        return Path(self.place) if self.revision is None else None

    @property
    def name(self) -> str:
        """For messages: the folder's name without its path, or the hub id."""
        return self.folder.name if self.folder else self.place

    def load(self, loader: Any, **arguments: Any) -> Any:
        """What a `from_pretrained` returns for it.

        Raises:
            ModelError: it could not be read.
        """
        hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would drown the run's own
        if self.revision is not None:
            arguments["revision"] = self.revision
        with _explained(self):
            return loader.from_pretrained(
                self.place, trust_remote_code=False, local_files_only=self.folder is not None, **arguments
            )


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """The tokenizer of a model.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    _check_folder(source)
    if source.folder and not any((source.folder / name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(
            f"model {source.name!r} has no tokenizer",
            hint="Add tokenizer.json and tokenizer_config.json to its folder: "
            "tokenizer.save_pretrained(folder) writes them.",
        )
    tokenizer: PreTrainedTokenizerBase = source.load(AutoTokenizer)
    for how_it_was_loaded in ("local_files_only", "is_local"):  # saved with the tokenizer otherwise
        tokenizer.init_kwargs.pop(how_it_was_loaded, None)
    return tokenizer


def load_model(source: ModelSource, *, dtype: str) -> PreTrainedModel:
    """The model, on the CPU.

    Raises:
        ModelError: there is none, or it cannot be read or used.
    """
    _check_folder(source)
    if source.folder and not any(source.folder.glob("*.safetensors")):
        raise ModelError(
            f"model {source.name!r} has no weights in safetensors format",
            hint="Write them with model.save_pretrained(folder); pickled weights are never loaded.",
        )
    config = source.load(AutoConfig)
    _check_attention(config, source)
    model: PreTrainedModel = source.load(
        AutoModelForCausalLM,
        config=config,
        dtype=DTYPES[dtype],
        use_safetensors=True,
        attn_implementation=ATTENTION,
    )
    return model


def _check_folder(source: ModelSource) -> None:
    if source.folder and (source.folder / "adapter_config.json").is_file():
        raise ModelError(
            f"model {source.name!r} holds adapters without their model",
            hint="Train with model.lora.save_as merged to start other jobs from a checkpoint.",
        )
    if source.folder and not (source.folder / "config.json").is_file():
        raise ModelError(f"model {source.name!r} has no config.json: it is not a Hugging Face model folder")


def _check_attention(config: PreTrainedConfig, source: ModelSource) -> None:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise ModelError(
            f"model {source.name!r} has layers of kind {', '.join(sorted(kinds - {'full_attention'}))}, "
            "which the sampler does not support",
            hint="Use a model with full attention in every layer, such as Llama, SmolLM2, Qwen2.5 or Qwen3.",
        )


@contextmanager
def _explained(source: ModelSource) -> Iterator[None]:
    """Turns what transformers raises on a bad model into a ModelError."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        lines = str(error).replace(source.place, source.name).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"model {source.name!r} cannot be loaded: {lines[0][:500]}",
            hint="Check that the folder is complete, or that the hub id and revision exist and are allowed.",
        ) from error
