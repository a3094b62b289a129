"""How the weights and gradients of a run lie on its ranks: a whole copy each, or cut among them (FSDP2).

A loss is a sum over responses divided by the sizes of the whole mini-batch, so the gradient of a mini-batch
is the sum of the ranks' gradients, never their mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from espo_core.distributed.world import ALONE, World

HIDDEN_STATES = "sharded_hidden_states"
"""Method of a model whose weights are cut."""
BUCKET_NUMBERS = 1 << 24
"""Gradients are summed over the ranks in pieces of so many numbers."""


class Replicas(Protocol):
    """What the update asks of several ranks."""

    @property
    def world(self) -> World: ...

    def passes(self, mine: int) -> int:
        """How often a rank with this many passes over the model must run it, forward and backward."""
        ...

    def reduce(self, parameters: Sequence[nn.Parameter]) -> None:
        """Makes the gradients those of the whole mini-batch, after its last pass on every rank."""
        ...

    @contextmanager
    def whole(self) -> Iterator[None]:
        """The weights are whole on every rank for the time of the block, and must not change in it."""
        ...


@dataclass(frozen=True, slots=True)
class Replicated:
    """Every rank has all weights; alone it has nothing to do."""

    world: World

    def passes(self, mine: int) -> int:
        """Its own: nothing is sent in a pass."""
        return mine

    def reduce(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sums the gradients, in buckets."""
        if self.world.is_alone:
            return
        for bucket in _buckets([one.grad for one in parameters if one.grad is not None]):
            flat = torch.cat([one.view(-1) for one in bucket])
            self.world.sum_into([flat])
            parts = torch.split(flat, [one.numel() for one in bucket])
            torch._foreach_copy_(bucket, [part.view_as(one) for part, one in zip(parts, bucket, strict=True)])

    @contextmanager
    def whole(self) -> Iterator[None]:
        """They are."""
        yield


SINGLE = Replicated(ALONE)


@dataclass(frozen=True, slots=True)
class Sharded:
    """Every rank has a part of each weight; the whole ones of a layer exist while it computes."""

    world: World
    modules: Sequence[FSDPModule]
    """The model itself first."""

    @staticmethod
    def of(model: PreTrainedModel, world: World, device: torch.device) -> Sharded:
        """Cuts a model's weights, the same on every rank, among them."""
        mesh = init_device_mesh(device.type, (world.size,))
        layers = set(model._no_split_modules or [])
        for module in model.modules():
            if type(module).__name__ in layers:
                fully_shard(module, mesh=mesh)
        fully_shard(model, mesh=mesh)
        modules = [module for module in model.modules() if isinstance(module, FSDPModule)]
        for module in modules:
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
        sharded = Sharded(world, modules)
        _add_hidden_states(model)
        sharded.reduce([])
        return sharded

    def passes(self, mine: int) -> int:
        """The most of any rank: every pass sends weights and gradients."""
        return int(max(self.world.gathered(mine)))

    def reduce(self, parameters: Sequence[nn.Parameter]) -> None:
        """They are summed already; frees whole weights that a pass without gradient has left behind."""
        for module in self.modules:
            module.reshard()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Every rank gathers all of them, at the cost of their memory."""
        for module in self.modules:
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()
        try:
            yield
        finally:
            for module in self.modules:
                # The root's are needed again as soon as the backward pass begins.
                module.set_reshard_after_forward(module is not self.modules[0], recurse=False)
                module.reshard()


def gathered_tensors(tensors: Mapping[str, Tensor], world: World) -> dict[str, Tensor]:
    """The tensors whole on the CPU of the first rank; nothing on the others, which must ask for them too.

    One tensor is whole on a device at a time. What is one tensor under two names stays one.
    """
    known: dict[int, Tensor] = {}
    for one in tensors.values():
        if id(one) not in known:
            whole = one.full_tensor() if isinstance(one, DTensor) else one
            known[id(one)] = whole.cpu() if world.is_first else whole.new_empty(0)
    return {name: known[id(one)] for name, one in tensors.items()} if world.is_first else {}


def cut_like(whole: Tensor, like: Tensor) -> Tensor:
    """A copy of a tensor that all ranks have, in the form of another: its device, and its part of a cut."""
    moved = whole.to(like.device)
    if isinstance(like, DTensor):
        return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)
    return moved.clone()


def run_below_head(model: PreTrainedModel, **inputs: Any) -> Tensor:
    """[B, L, H] last hidden states below the output layer, whose weight is whole until the backward pass."""
    if hasattr(model, HIDDEN_STATES):
        states: Tensor = getattr(model, HIDDEN_STATES)(**inputs)
    else:
        states = model.base_model(**inputs).last_hidden_state
    return states


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model as its modules hold it now. Within `whole` that is all of it, where `state_dict`
    would cut the weights again."""
    state = {name: one.detach() for name, one in model.named_parameters(remove_duplicate=False)}
    for prefix, module in model.named_modules(remove_duplicate=False):
        kept = module._buffers.keys() - module._non_persistent_buffers_set
        state |= {f"{prefix}.{name}".lstrip("."): module.get_buffer(name) for name in sorted(kept)}
    return state


def _add_hidden_states(model: PreTrainedModel) -> None:
    """FSDP2 gathers the weights of a model where the model itself is called, and we call what is below it."""

    def hidden_states(**inputs: Any) -> Tensor:
        states: Tensor = model.base_model(**inputs).last_hidden_state
        return states

    setattr(model, HIDDEN_STATES, hidden_states)
    register_fsdp_forward_method(model, HIDDEN_STATES)
    with torch.no_grad():  # the first pass settles which module is the root
        run_below_head(model, input_ids=torch.zeros((1, 1), dtype=torch.long, device=model.device))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yields the gradients in lists of one type and bounded size."""
    for dtype in {one.dtype: None for one in gradients}:
        bucket: list[Tensor] = []
        for one in (one for one in gradients if one.dtype == dtype):
            if bucket and sum(other.numel() for other in bucket) + one.numel() > BUCKET_NUMBERS:
                yield bucket
                bucket = []
            bucket.append(one)
        yield bucket
