"""Where vLLM is, as the operator of a worker says; a job only says that it wants it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, model_validator

from espo_core.errors import ConfigError

PREFIX = "ESPO_VLLM_"


class VllmSettings(BaseModel):
    """Each field is the environment variable `ESPO_VLLM_<NAME>`. Without an address vLLM runs inside the
    trainer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: HttpUrl | None = None
    """Address of a vLLM server that this worker alone uses, on a network that nobody else reaches."""
    folder: Path | None = None
    """Folder in which the trainer leaves weights and the server reads them, by the same path."""
    memory: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Share of the GPU's memory that vLLM takes while it samples in the trainer's process."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.url is None) != (self.folder is None):
            raise ValueError("ESPO_VLLM_URL and ESPO_VLLM_FOLDER go together")
        if self.folder is not None and not self.folder.is_dir():
            raise ValueError("ESPO_VLLM_FOLDER is no folder on this machine")
        return self


def settings_of(environment: Mapping[str, str]) -> VllmSettings:
    """The settings in an environment, of which empty variables count as missing.

    Raises:
        ConfigError: a variable is unknown or its value is unusable.
    """
    mine = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and value
    }
    try:
        return VllmSettings.model_validate(mine)
    except ValidationError as error:
        wrong = "; ".join(
            f"{PREFIX + str(one['loc'][0]).upper() if one['loc'] else 'settings'}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise ConfigError(
            f"this worker's settings of vLLM are wrong: {wrong}",
            hint="The operator of the worker must correct its environment; or leave rollout.engine native.",
        ) from None
