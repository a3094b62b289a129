"""How far our objectives and advantages are from a peer's on random batches."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.peers.cases import Case
from bench.peers.padded import padded
from bench.peers.random_batch import Size, random_batch
from espo_core.batch import TokenBatch

SIZE = Size(responses=48, group=8, shortest=1, longest=64)
SPREAD = 0.5
"""Wide enough that ratios leave [0.8, 1.28] on both sides and some are over 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The largest relative differences between an objective and a peer's."""

    loss: float
    """Of the loss, relative to the sum of the sizes of its terms: they have both signs."""
    gradient: float
    """Of the gradient by any token's log-probability, relative to the largest."""


def difference(case: Case, *, seed: int, dtype: torch.dtype) -> Difference:
    """The difference on one random batch."""
    objective = case.objective()
    batch = objective.prepare(random_batch(SIZE, seed=seed, dtype=dtype, spread=SPREAD))
    if case.has_token_advantages:
        batch = replace(batch, credit=_token_advantages(batch, seed=seed))
    rows = padded(batch)
    ours, our_gradient = _with_gradient(objective(batch).loss, batch.logp)
    theirs, their_gradient = _with_gradient(case.loss(rows), rows.logp)
    wanted = rows.packed(their_gradient)
    scale = max(abs(theirs), float(wanted.abs().sum()))
    return Difference(
        loss=abs(ours - theirs) / scale,
        gradient=float((our_gradient - wanted).abs().max() / wanted.abs().max()),
    )


def worst(differences: Iterable[Difference]) -> Difference:
    """The largest of each."""
    found = list(differences)
    return Difference(loss=max(one.loss for one in found), gradient=max(one.gradient for one in found))


def _token_advantages(batch: TokenBatch, *, seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(batch.tokens, generator=source).to(batch.logp.dtype)


def _with_gradient(loss: Tensor, leaf: Tensor) -> tuple[float, Tensor]:
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.item(), gradient
