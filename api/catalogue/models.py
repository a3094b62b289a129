"""Models of the operator's model path, described from their config and safetensors headers alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espo_contracts.models import model_folders

# A header lists tensors; 100 MB is the bound that the format's own library sets.
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known of a model without loading it; numbers are None where its config does not say."""

    name: str
    parameters: int
    bytes: int
    architecture: str | None
    vocabulary: int | None
    layers: int | None
    hidden: int | None
    intermediate: int | None
    """Width of the layers between two attentions."""
    query_width: int | None
    """Attention heads times their size."""
    key_width: int | None
    """Key-value heads times their size."""
    is_tied: bool
    """The output layer is the embedding."""
    adapter_widths: Mapping[str, int]
    """Of each kind of linear layer, such as `q_proj`, inputs and outputs of all of them together: adapters of
    rank r have r times as many parameters."""
    created_at: float


def list_models(model_path: str) -> list[ModelFacts]:
    """Every model of the path that can be read, by name."""
    facts = [facts_of(folder) for folder in model_folders(model_path)]
    return sorted((fact for fact in facts if fact is not None), key=lambda fact: fact.name)


def facts_of(folder: Path) -> ModelFacts | None:
    """What is known of the model in a folder; None when its files cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        weights = sorted(folder.glob("*.safetensors"))
        shapes = {name: shape for file in weights for name, shape in _shapes(file).items()}
        heads = _whole(config, "num_attention_heads")
        size = _whole(config, "head_dim") or _quotient(_whole(config, "hidden_size"), heads)
        return ModelFacts(
            name=folder.name,
            parameters=sum(math.prod(shape) for shape in shapes.values()),
            bytes=sum(file.stat().st_size for file in weights),
            architecture=next(iter(config.get("architectures") or []), None),
            vocabulary=_whole(config, "vocab_size"),
            layers=_whole(config, "num_hidden_layers"),
            hidden=_whole(config, "hidden_size"),
            intermediate=_whole(config, "intermediate_size"),
            query_width=_product(heads, size),
            key_width=_product(_whole(config, "num_key_value_heads") or heads, size),
            is_tied="lm_head.weight" not in shapes,
            adapter_widths=_adapter_widths(shapes),
            created_at=(folder / "config.json").stat().st_mtime,
        )
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _shapes(file: Path) -> dict[str, list[int]]:
    """Shape of each tensor: the file begins with the length of its JSON header, 8 bytes little-endian."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"{file} is no safetensors file")
        header = json.loads(opened.read(length))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def _adapter_widths(shapes: Mapping[str, list[int]]) -> dict[str, int]:
    """By the last part of their names the widths of the matrices of all layers, which have a number."""
    widths: dict[str, int] = {}
    for name, shape in shapes.items():
        *path, kind, what = ["", *name.split(".")]
        if what == "weight" and len(shape) == 2 and any(part.isdecimal() for part in path):
            widths[kind] = widths.get(kind, 0) + sum(shape)
    return widths


def _whole(config: dict[str, Any], name: str) -> int | None:
    value = config.get(name)
    return value if isinstance(value, int) else None


def _product(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one * other


def _quotient(one: int | None, other: int | None) -> int | None:
    return None if one is None or not other else one // other
