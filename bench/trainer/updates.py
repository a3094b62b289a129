"""How often an optimiser, whoever holds it, took a step."""

from __future__ import annotations

from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook


class Updates:
    """Counts the steps of every optimiser in this process."""

    def __init__(self) -> None:
        self._count = 0
        register_optimizer_step_post_hook(self._add)

    def taken(self) -> int:
        """Steps since this was last asked."""
        count, self._count = self._count, 0
        return count

    def _add(self, *_: Any) -> None:
        self._count += 1
