"""Penalties that stand beside the surrogate and are aggregated with the same token weights.

A regularizer part maps (batch, units) to `Penalty`; `requires` names the optional batch fields it reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.objectives.diagnostics import Mean, mean_of
from espo_core.objectives.units import Units


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Penalty:
    """What each token takes from the objective, its coefficient included."""

    value: Tensor
    """[T] carries the gradient."""
    diagnostics: Mapping[str, Mean] = field(default_factory=dict)


class RegularizerPart(Protocol):
    """A penalty per token."""

    @property
    def requires(self) -> frozenset[str]:
        """Names of the optional TokenBatch fields that it reads."""
        ...

    def __call__(self, batch: TokenBatch, units: Units) -> Penalty:
        """The penalty of each token."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceKL:
    """β (π_ref/π_θ − log(π_ref/π_θ) − 1), the k3 estimate of KL(π_θ‖π_ref), arXiv:2402.03300v3, Eq. (4).

    Reports `kl_reference`, the mean over tokens without β.
    """

    coefficient: float
    """β."""
    requires: ClassVar[frozenset[str]] = frozenset({"logp_ref"})

    def __call__(self, batch: TokenBatch, units: Units) -> Penalty:
        assert batch.logp_ref is not None  # noqa: S101  Objective has checked what its parts require
        kl = k3(batch.logp_ref - batch.logp)
        return Penalty(value=self.coefficient * kl, diagnostics={"kl_reference": mean_of(kl)})


def reference_kl(coefficient: float) -> tuple[ReferenceKL, ...]:
    """The penalty, or nothing where its coefficient is 0."""
    return (ReferenceKL(coefficient=coefficient),) if coefficient else ()


def k3(log_ratio: Tensor) -> Tensor:
    """exp(x) − 1 − x of a log-ratio x, with a rounding error in proportion to x and not to 1."""
    return torch.expm1(log_ratio) - log_ratio
