"""What an algorithm file hands on: its configuration, its paper and how it is built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from espo_contracts.part import Part
from espo_core.objectives.objective import Objective
from espo_core.parameters import parse_parameters

Fidelity = Literal["paper", "reconstruction", "original"]
"""Whether the equation was read in the paper, was rebuilt from its text or second-hand, or is ours."""

__all__ = ["Algorithm", "Fidelity", "Part"]

ConfigT = TypeVar("ConfigT", bound=Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm(Generic[ConfigT]):
    """One entry of ALGORITHMS."""

    name: str
    title: str
    summary: str
    paper: str
    """arXiv number with its version, or where its evidence is."""
    fidelity: Fidelity
    config: type[ConfigT]
    build: Callable[[ConfigT], Objective]
    dynamic_sampling: bool = False
    """Whether the paper samples dynamically; a job may say otherwise."""

    def configure(self, parameters: Mapping[str, object]) -> ConfigT:
        """The validated parameters, the others at their defaults.

        Raises:
            ConfigError: unknown names or values out of bounds, all of them in one message.
        """
        return parse_parameters(self.config, parameters, what=f"algorithm {self.name!r}")
