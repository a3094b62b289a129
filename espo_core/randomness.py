"""Random numbers that depend on the seed and on what they are for, and on nothing that happened before.

No random state outlives a step, so that a run continued from a checkpoint draws what it would have drawn.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

# Positions and rows that one generator draws for.
BLOCK = 64


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, such as `derived_seed(seed, "order", epoch)`."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def seed_everything(seed: int, *purpose: str | int) -> None:
    """Sets the global states that libraries draw from (dropout, initialisation) for one purpose."""
    derived = derived_seed(seed, *purpose)
    torch.manual_seed(derived)
    random.seed(derived)
    np.random.seed(derived % 2**32)  # the state that libraries read


@dataclass(slots=True, kw_only=True)
class Uniforms:
    """A uniform number in [0, 1) for each row and position.

    It is always the same, whatever the batch that the row is decoded in, how many rows there are and how long
    they get: every 64 rows by 64 positions have a generator of their own.
    """

    seed: int
    _blocks: dict[int, NDArray[np.float64]] = field(default_factory=dict, init=False)

    def at(self, rows: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """[n] of these rows at these positions."""
        block_of = (rows // BLOCK << 32) + positions // BLOCK
        blocks, place = np.unique(block_of, return_inverse=True)
        drawn = {block: self._blocks.get(block) for block in blocks.tolist()}
        self._blocks = {block: self._draw(block) if one is None else one for block, one in drawn.items()}
        together = np.stack(list(self._blocks.values()))
        numbers: NDArray[np.float64] = together[place, positions % BLOCK, rows % BLOCK]
        return numbers

    def _draw(self, block: int) -> NDArray[np.float64]:
        return np.random.Generator(np.random.Philox(key=[self.seed, block])).random((BLOCK, BLOCK))
