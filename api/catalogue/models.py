"""Models of the operator's model path, described from their config and safetensors headers alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
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
        return ModelFacts(
            name=folder.name,
            parameters=sum(math.prod(shape) for file in weights for shape in _shapes(file)),
            bytes=sum(file.stat().st_size for file in weights),
            architecture=next(iter(config.get("architectures") or []), None),
            vocabulary=_whole(config, "vocab_size"),
            layers=_whole(config, "num_hidden_layers"),
            hidden=_whole(config, "hidden_size"),
            created_at=(folder / "config.json").stat().st_mtime,
        )
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _shapes(file: Path) -> Iterator[list[int]]:
    """Shape of each tensor: the file begins with the length of its JSON header, 8 bytes little-endian."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"{file} is no safetensors file")
        header = json.loads(opened.read(length))
    return (entry["shape"] for name, entry in header.items() if name != "__metadata__")


def _whole(config: dict[str, Any], name: str) -> int | None:
    value = config.get(name)
    return value if isinstance(value, int) else None
