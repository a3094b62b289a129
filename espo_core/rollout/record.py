"""What was sampled, in the order of decoding."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espo_core.forest import Ints
from espo_core.rollout.engine import Rollout


@dataclass(slots=True)
class Record:
    """Tensors over the open responses of each step."""

    _response: list[Ints] = field(default_factory=list)
    _tokens: list[Tensor] = field(default_factory=list)
    _logp: list[Tensor] = field(default_factory=list)
    _entropy: list[Tensor] = field(default_factory=list)

    def add(self, *, response: Ints, tokens: Tensor, logp: Tensor, entropy: Tensor) -> None:
        """Notes a token of each of these responses."""
        self._response.append(response)
        self._tokens.append(tokens)
        self._logp.append(logp)
        self._entropy.append(entropy)

    def packed(self, is_truncated: NDArray[np.bool_], *, device: torch.device) -> Rollout:
        """The responses end to end."""
        response = np.concatenate(self._response)
        order = torch.from_numpy(response.argsort(kind="stable")).to(device)
        tokens, logp, entropy = (torch.cat(part)[order] for part in (self._tokens, self._logp, self._entropy))
        return Rollout(
            tokens=tokens,
            logp=logp,
            entropy=entropy,
            lengths=torch.from_numpy(np.bincount(response, minlength=len(is_truncated))).to(device),
            is_truncated=torch.from_numpy(is_truncated).to(device),
        )
