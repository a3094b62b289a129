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
    """A uniform number in [0, 1) for each row and position, drawn before the rows are packed anyhow.

    Position t of row r is always the same number, whatever the batch it is decoded in and however long it
    gets: blocks of 64 positions have a generator of their own.
    """

    seed: int
    rows: int
    _number: int = field(default=-1, init=False)
    _block: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)), init=False)

    def column(self, position: int) -> torch.Tensor:
        """[rows] float64 of one position."""
        number, offset = divmod(position, BLOCK)
        if number != self._number:
            generator = np.random.Generator(np.random.Philox(key=[self.seed, number]))
            self._block = generator.random((BLOCK, self.rows))
            self._number = number
        return torch.from_numpy(self._block[offset])
