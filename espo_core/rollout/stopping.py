"""When a response ends: at an end token, at a stop string, or at the limit.

Legend: M open responses.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from espo_core.forest import Ints
from espo_core.policy import Policy
from espo_core.rollout.engine import Sampling

# Tokens before a stop string that are decoded with it: a tokenizer may treat a first token differently.
CONTEXT = 8


class Stopping:
    """Remembers of each response what it needs to notice its end."""

    def __init__(self, policy: Policy, sampling: Sampling) -> None:
        self._tokenizer, self._sampling = policy.tokenizer, sampling
        self._ends = np.array(policy.eos_ids)
        self._truncated: list[Ints] = []
        self._tails: defaultdict[int, list[int]] = defaultdict(list)
        # A token is a character at least, and a character four bytes at most.
        self._reach = CONTEXT + 4 * max((len(one) for one in sampling.stop), default=0)

    def ended(self, response: Ints, taken: Ints, tokens: Ints) -> NDArray[np.bool_]:
        """[M] whether a response ends with its newest token, the `taken`-th."""
        ended = np.isin(tokens, self._ends)
        if self._sampling.stop:
            ended |= self._have_stopped(response, tokens) & (taken >= self._sampling.min_new_tokens)
        is_full = taken >= self._sampling.max_new_tokens
        self._truncated.append(response[is_full & ~ended])
        return ended | is_full

    def truncated(self, responses: int) -> NDArray[np.bool_]:
        """[responses] whether each reached the limit without an end."""
        is_truncated = np.zeros(responses, dtype=bool)
        is_truncated[np.concatenate(self._truncated)] = True
        return is_truncated

    def _have_stopped(self, response: Ints, tokens: Ints) -> NDArray[np.bool_]:
        for one, token in zip(response.tolist(), tokens.tolist(), strict=True):
            self._tails[one] = [*self._tails[one][1 - self._reach :], token]
        texts = self._tokenizer.batch_decode(
            [self._tails[one] for one in response.tolist()], clean_up_tokenization_spaces=False
        )
        return np.array([any(stop in text for stop in self._sampling.stop) for text in texts])
