"""Sums behind the metrics, kept on the device until someone reads them, so that a step waits for it once.

Legend: T tokens, U units, K entropy levels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from espo_core.objectives.segments import segment_sum
from espo_core.objectives.units import Units


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mean:
    """A mean that can be merged: the sum [] of the values and their count []."""

    total: Tensor
    count: Tensor


def mean_of(values: Tensor, where: Tensor | None = None) -> Mean:
    """The mean of the values [T], or of those where a mask [T] holds."""
    values = values.detach()
    if where is None:
        return Mean(total=values.sum(), count=values.new_full((), values.numel()))
    return Mean(total=(values * where).sum(), count=where.sum())


def share_of(claim: Tensor) -> Mean:
    """The share of tokens for which a claim ([T] bool) holds."""
    total = claim.sum()
    return Mean(total=total, count=total.new_full((), claim.numel()))


def shares_among(claims: Mapping[str, Tensor], *, among: Tensor) -> dict[str, Mean]:
    """The shares of the tokens of a mask ([T] bool) for which claims ([T] bool) hold."""
    count = among.sum()
    return {name: Mean(total=(claim & among).sum(), count=count) for name, claim in claims.items()}


def means_by_level(name: str, values: Tensor, units: Units) -> dict[str, Mean]:
    """The mean of the values [U] over the non-empty units of each entropy level k, as `name/k`."""
    filled = (units.size > 0).to(values.dtype)
    total = segment_sum(values.detach() * filled, segment=units.level, segments=units.levels)
    count = segment_sum(filled, segment=units.level, segments=units.levels)
    return {f"{name}/{k}": Mean(total=total[k], count=count[k]) for k in range(units.levels)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Diagnostics:
    """Everything measured on one batch."""

    means: Mapping[str, Mean]
    maxima: Mapping[str, Tensor] = field(default_factory=dict)


Sums = Mapping[str, Sequence[Sequence[float]]]
"""(total, count) of each metric in each of some batches, as numbers; a maximum is (maximum, -1)."""


def read_metrics(parts: Sequence[Diagnostics]) -> dict[str, float]:
    """The metrics of several batches as of one, in one transfer from the device."""
    return metrics_of([sums_of(parts)])


def metrics_of(parts: Sequence[Sums]) -> dict[str, float]:
    """The metrics of all the batches that were summed.

    A mean over nothing (an entropy level without a token) is left out.
    """
    metrics = {}
    for name in {name: None for part in parts for name in part}:
        values = [value for part in parts for value in part.get(name, ())]
        if values[0][1] < 0:
            metrics[name] = max(total for total, _ in values)
        elif count := sum(count for _, count in values):
            metrics[name] = sum(total for total, _ in values) / count
    return metrics


def sums_of(parts: Sequence[Diagnostics]) -> Sums:
    """What is behind the metrics of several batches, which may be none."""
    if not parts:
        return {}
    named = [(name, mean.total, mean.count) for part in parts for name, mean in part.means.items()]
    named += [(name, peak, torch.full_like(peak, -1)) for part in parts for name, peak in part.maxima.items()]
    dtype = reduce(torch.promote_types, (total.dtype for _, total, _ in named))
    flat = torch.stack([value.to(dtype) for _, *pair in named for value in pair]).tolist()
    columns: dict[str, list[tuple[float, float]]] = {}
    for place, (name, _, _) in enumerate(named):
        columns.setdefault(name, []).append((flat[2 * place], flat[2 * place + 1]))
    return columns
