"""Unbiased pruning of responses that teach little, arXiv:2603.04135 (DPPO), a reconstruction.

Of the responses with the smallest |Â| each is dropped with probability P, and those that stay count
1 / (1 − P) times (Horvitz and Thompson), while the means keep their denominators. The expected gradient is
that of all responses; what is dropped need not be read by the model. The paper also drops prompts before they
are answered, which is not here: see curriculum.py.

Legend: R responses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from espo_contracts.rollout import Pruning
from espo_core.randomness import derived_seed


def pruned_weights(advantage: Tensor, spec: Pruning, *, seed: int, step: int) -> Tensor:
    """[R] 0 for a dropped response, 1 / (1 − P) for one that was spared, 1 for the others.

    `spec.share` of the responses with Â ≠ 0 may be dropped; among equal |Â| the earlier ones.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "pruning", step))
    is_spared = torch.rand(len(advantage), generator=generator) >= spec.probability
    weight = torch.ones_like(advantage)
    low = _lowest(advantage.abs(), share=spec.share)
    weight[low] = is_spared[low].to(weight.dtype) / (1 - spec.probability)
    return weight


def _lowest(size: Tensor, *, share: float) -> Tensor:
    """Places of the smallest sizes that are not 0."""
    order = size.argsort(stable=True)
    order = order[size[order] > 0]
    return order[: int(share * len(order))]
