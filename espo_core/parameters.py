"""Parameters of a named part (a verifier, a task, an algorithm), checked against its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from espo_contracts.validation import explain
from espo_core.errors import ConfigError

Config = TypeVar("Config", bound=BaseModel)


def parse_parameters(config: type[Config], parameters: Mapping[str, Any], *, what: str) -> Config:
    """Returns the config made from a job's parameters.

    Raises:
        ConfigError: With all unknown fields (and the nearest valid ones) and all values out of bounds.
    """
    try:
        return config.model_validate(dict(parameters))
    except ValidationError as error:
        found = explain(config, error.errors(include_url=False))
        listed = "; ".join(f"{one.loc}: {one.message}" for one in found)
        raise ConfigError(
            f"parameters of {what}: {listed} (valid parameters: {', '.join(config.model_fields)})",
            hint="Correct the named parameters; the catalogue has their bounds and defaults.",
        ) from None
