"""Weights that read the same input, joined where they lie: the modules' own weights and gradients are views
of the joined ones, so that optimiser and checkpoints see what they always saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Joined:
    """The weights, or biases, of linear layers of the same input as one."""

    def __init__(self, parts: Sequence[nn.Parameter]) -> None:
        self.parts = parts
        with torch.no_grad():
            self.whole = torch.cat([one.detach() for one in parts])
            """[out, in], a leaf whose gradient is that of the parts."""
            for one, view in zip(parts, self._views(self.whole), strict=True):
                one.data = view
        self.whole.requires_grad_(parts[0].requires_grad)

    def link(self) -> None:
        """Makes the gradients of the parts views of the whole's, where somebody has given them others."""
        if self.whole.requires_grad and not self._is_linked():
            given = [torch.zeros_like(one) if one.grad is None else one.grad for one in self.parts]
            self.whole.grad = torch.cat(given)
            for one, view in zip(self.parts, self._views(self.whole.grad), strict=True):
                one.grad = view

    def _is_linked(self) -> bool:
        grad = self.whole.grad
        return grad is not None and all(
            one.grad is not None and one.grad.data_ptr() == view.data_ptr()
            for one, view in zip(self.parts, self._views(grad), strict=True)
        )

    def _views(self, whole: Tensor) -> Sequence[Tensor]:
        views: Sequence[Tensor] = whole.split([len(one) for one in self.parts])  # type: ignore[no-untyped-call]
        return views


class JoinedLinear:
    """Linear layers of the same input."""

    def __init__(self, *layers: Any) -> None:
        self.joined = [Joined([one.weight for one in layers])]
        if layers[0].bias is not None:
            self.joined.append(Joined([one.bias for one in layers]))

    def pair(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias."""
        return self.joined[0].whole, self.joined[1].whole if len(self.joined) > 1 else None
