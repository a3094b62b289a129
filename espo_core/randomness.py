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
    _blocks: dict[tuple[int, int], NDArray[np.float64]] = field(default_factory=dict, init=False)

    def at(self, rows: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """[n] of these rows at these positions."""
        numbers = np.empty(len(rows))
        block_of = np.stack([rows // BLOCK, positions // BLOCK], axis=1)
        wanted = {(int(row), int(position)) for row, position in np.unique(block_of, axis=0)}
        for block in wanted:
            mine = (block_of == block).all(axis=1)
            numbers[mine] = self._block(*block)[positions[mine] % BLOCK, rows[mine] % BLOCK]
        self._blocks = {block: self._blocks[block] for block in wanted}
        return numbers

    def _block(self, row: int, position: int) -> NDArray[np.float64]:
        if (row, position) not in self._blocks:
            generator = np.random.Generator(np.random.Philox(key=[self.seed, (row << 32) + position]))
            self._blocks[row, position] = generator.random((BLOCK, BLOCK))
        return self._blocks[row, position]
