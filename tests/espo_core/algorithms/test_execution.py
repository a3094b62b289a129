"""Where and how an objective computes: device, dtype, size of its tensors, and no waiting for the device."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from espo_core.batch import TokenBatch
from espo_core.objectives import Objective
from tests.espo_core.algorithms.variants import every_variant
from tests.espo_core.objectives.rollouts import Response, random_responses, token_batch

# These need a value on the host: on an accelerator each would stall its queue.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal"}


class Watch(TorchDispatchMode):
    """Notes the name of every operation, and the size and dtype of every tensor that it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.largest = 0
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.names.add(func.overloadpacket.__name__)
        for tensor in (leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)):
            # A view or a broadcast holds no memory of its own.
            self.largest = max(self.largest, tensor.untyped_storage().nbytes() // tensor.element_size())
            self.dtypes |= {tensor.dtype} if tensor.is_floating_point() and tensor.ndim else set()
        return out


def ragged_responses() -> list[Response]:
    """A response of 600 tokens among 59 of one to three: padded they would fill 36,000 places, not 717."""
    responses = random_responses(0, count=60)
    lengths = [600, *(1 + i % 3 for i in range(59))]
    return [stretched(one, length) for one, length in zip(responses, lengths, strict=True)]


def stretched(one: Response, length: int) -> Response:
    """The response with its tokens repeated up to a length."""
    names = ("logp", "logp_old", "entropy", "entropy_now", "logp_ref")
    repeated = {name: (getattr(one, name) * length)[:length] for name in names}
    return replace(one, **repeated)


def watched_step(objective: Objective, batch: TokenBatch) -> Watch:
    """What the forward and the backward pass of a prepared batch do."""
    with Watch() as watch:
        objective(batch).loss.backward()
    return watch


@every_variant
def test_no_tensor_is_larger_than_a_small_multiple_of_the_tokens(objective: Objective) -> None:
    batch = objective.prepare(token_batch(ragged_responses()))
    units = objective.units(batch)
    watch = watched_step(objective.fitted(batch), batch)
    assert watch.largest <= 4 * max(batch.tokens, len(units.size))
    assert watch.largest >= batch.tokens


@every_variant
def test_preparing_makes_no_padded_tensor(objective: Objective) -> None:
    """The trajectory baseline holds seven features a token and seven by seven numbers at 64 positions."""
    batch = token_batch(ragged_responses())
    with Watch() as watch:
        objective.fitted(objective.prepare(batch))
    assert watch.largest <= 8 * batch.tokens < batch.responses * 600


@every_variant
def test_a_step_never_waits_for_the_device(objective: Objective) -> None:
    batch = objective.prepare(token_batch(random_responses(1)))
    watch = watched_step(objective.fitted(batch), batch)
    assert not watch.names & WAITING
    assert "sum" in watch.names


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_the_dtype_of_the_batch(objective: Objective, dtype: torch.dtype) -> None:
    """A float32 tensor on the way would cost float64 its digits, and a float64 one its speed to float32."""
    batch = objective.prepare(token_batch(random_responses(1), dtype))
    watch = watched_step(objective.fitted(batch), batch)
    assert watch.dtypes == {dtype}
    assert batch.logp.grad is not None
    assert batch.logp.grad.dtype == dtype
    assert batch.token_advantage.dtype == dtype


@every_variant
def test_makes_every_tensor_on_the_device_of_the_batch(objective: Objective) -> None:
    """The meta device stands for an accelerator: a tensor made on the CPU would not combine with it."""
    batch = objective.prepare(token_batch(random_responses(0)))
    fitted = objective.fitted(batch)
    tensors = {field.name: getattr(batch, field.name) for field in fields(batch)}
    moved = {name: one.to("meta") for name, one in tensors.items() if isinstance(one, Tensor)}
    assert fitted(replace(batch, **moved)).loss.device.type == "meta"
