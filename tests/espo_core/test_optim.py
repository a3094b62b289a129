from __future__ import annotations

import pytest
import torch
from torch import nn

from espo_contracts.spec import OptimiserSpec
from espo_core.errors import CheckpointError
from espo_core.optim import Optimiser, learning_rate


def spec(**fields: object) -> OptimiserSpec:
    return OptimiserSpec.model_validate({"learning_rate": 0.1, **fields})


@pytest.mark.parametrize(
    ("fields", "rates"),
    [
        ({}, [0.1, 0.1, 0.1, 0.1, 0.1]),
        ({"warmup_steps": 2}, [0.05, 0.1, 0.1, 0.1, 0.1]),
        ({"schedule": "linear"}, [0.1, 0.08, 0.06, 0.04, 0.02]),
        ({"schedule": "linear", "warmup_steps": 1}, [0.1, 0.1, 0.075, 0.05, 0.025]),
        ({"schedule": "cosine", "warmup_steps": 1}, [0.1, 0.1, 0.085355, 0.05, 0.014645]),
        ({"schedule": "cosine", "warmup_steps": 9}, [0.1 * step / 9 for step in range(1, 6)]),
    ],
)
def test_learning_rates(fields: dict[str, object], rates: list[float]) -> None:
    given = [learning_rate(spec(**fields), step=step, steps=5) for step in range(1, 6)]
    assert given == pytest.approx(rates, abs=1e-6)


def parameters(dtype: torch.dtype = torch.float32) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return {
        "matrix": nn.Parameter(torch.randn(3, 2, generator=generator).to(dtype)),
        "norm": nn.Parameter(torch.ones(2, dtype=dtype)),
    }


def set_gradients(named: dict[str, nn.Parameter], scale: float) -> None:
    for one in named.values():
        assert one.grad is not None
        one.grad.copy_(scale * torch.arange(1.0, one.numel() + 1).view_as(one))


def test_an_update_is_adamw_with_clipping_and_decay_of_matrices() -> None:
    named = parameters()
    before = {name: one.detach().clone() for name, one in named.items()}
    optimiser = Optimiser(named, spec(weight_decay=0.5, max_gradient_norm=1.0))
    set_gradients(named, 10.0)
    norm = optimiser.update(0.1)
    gradient = {name: 10.0 * torch.arange(1.0, one.numel() + 1).view_as(one) for name, one in named.items()}
    assert norm == pytest.approx(torch.cat([one.flatten() for one in gradient.values()]).norm().item())
    for name, one in named.items():
        decay = 0.1 * 0.5 if one.ndim == 2 else 0.0
        clipped = gradient[name] / norm
        expected = before[name] * (1 - decay) - 0.1 * clipped / (clipped.abs() + 1e-8)
        torch.testing.assert_close(one.detach(), expected, rtol=1e-5, atol=1e-6)


def test_momentum_moves_a_weight_without_gradient() -> None:
    named = parameters()
    optimiser = Optimiser(named, spec())
    set_gradients(named, 1.0)
    optimiser.update(0.1)
    before = named["matrix"].detach().clone()
    optimiser.update(0.1)
    assert not torch.equal(named["matrix"], before)


def test_bfloat16_weights_keep_small_updates_on_a_float32_copy() -> None:
    named = parameters(torch.bfloat16)
    optimiser = Optimiser(named, spec())
    start = named["norm"].detach().clone()
    for _ in range(100):
        set_gradients(named, 1.0)
        optimiser.update(1e-4)
    # 1e-4 is lost in bfloat16 next to 1 (its spacing there is 0.004 to 0.008), a hundred of them are not
    assert named["norm"].dtype == torch.bfloat16
    torch.testing.assert_close(named["norm"].float(), start.float() - 0.01, atol=0.003, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_restored_optimiser_continues_exactly(dtype: torch.dtype) -> None:
    first, second = parameters(dtype), parameters(dtype)
    original = Optimiser(first, spec())
    set_gradients(first, 1.0)
    original.update(0.1)
    restored = Optimiser(second, spec())
    with torch.no_grad():
        for name, one in second.items():
            one.copy_(first[name])
    restored.restore({name: one.clone() for name, one in original.state().items()})
    for optimiser, named in ((original, first), (restored, second)):
        set_gradients(named, -2.0)
        optimiser.update(0.1)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_state_that_does_not_fit() -> None:
    state = Optimiser(parameters(), spec()).state()
    wrong = {**state, "exp_avg/matrix": torch.zeros(2, 2), "extra": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"does not fit this model: extra, exp_avg/matrix"):
        Optimiser(parameters(), spec()).restore(wrong)
