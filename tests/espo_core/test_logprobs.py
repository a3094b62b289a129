from __future__ import annotations

import pytest
import torch
from torch import Tensor

from espo_core import logprobs
from espo_core.logprobs import entropy_of, token_statistics

T, H, V = 23, 8, 17


def problem(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(T, H, generator=generator, dtype=torch.float64)
    weight = torch.randn(V, H, generator=generator, dtype=torch.float64)
    tokens = torch.randint(0, V, (T,), generator=generator)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), tokens


def reference(hidden: Tensor, weight: Tensor, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The definition, token by token in float64."""
    logps, entropies = [], []
    for state, token in zip(hidden.double(), tokens.tolist(), strict=True):
        scores = weight.double() @ state / temperature
        p = scores.exp() / scores.exp().sum()
        logps.append(p[token].log())
        entropies.append(-(p * p.log()).sum())
    return torch.stack(logps), torch.stack(entropies)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("tile", [V, 5 * V, 1 << 20])  # chunks of 1, of 5 with a rest, and all at once
def test_values_and_gradients_are_the_definition(
    dtype: torch.dtype, tolerance: float, temperature: float, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(logprobs.TILE_ELEMENTS, "cpu", tile)
    hidden, weight, tokens = problem(dtype)
    coefficients = torch.linspace(-1, 1, T, dtype=dtype)

    def loss_of(logp: Tensor, entropy: Tensor) -> Tensor:
        return (coefficients * logp).sum() + (coefficients.flip(0) * entropy).sum()

    logp, entropy = token_statistics(hidden, weight, tokens, temperature=temperature)
    gradients = torch.autograd.grad(loss_of(logp, entropy), [hidden, weight])
    expected = reference(hidden, weight, tokens, temperature)
    expected_gradients = torch.autograd.grad(loss_of(*(one.to(dtype) for one in expected)), [hidden, weight])
    for one, other in zip((logp, entropy, *gradients), (*expected, *expected_gradients), strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=tolerance, atol=tolerance * 10)


def test_a_frozen_weight_gets_no_gradient_and_each_output_can_stand_alone() -> None:
    hidden, weight, tokens = problem(torch.float64)
    frozen = weight.detach()
    token_statistics(hidden, frozen, tokens, temperature=1.0)[1].sum().backward()
    expected = torch.autograd.grad(reference(hidden, frozen, tokens, 1.0)[1].sum(), hidden)[0]
    torch.testing.assert_close(hidden.grad, expected, rtol=1e-12, atol=1e-12)
    assert frozen.grad is None


def test_entropy_of_certainty_is_zero() -> None:
    certain = torch.log_softmax(torch.tensor([[0.0, -200.0, -torch.inf]]), dim=-1)
    assert entropy_of(certain).tolist() == [0.0]


def test_bfloat16_states_give_float32_figures() -> None:
    hidden, weight, tokens = problem(torch.bfloat16)
    logp, entropy = token_statistics(hidden, weight, tokens, temperature=1.0)
    assert logp.dtype == entropy.dtype == torch.float32
    (logp.sum() + entropy.sum()).backward()
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.bfloat16
