from __future__ import annotations

import pytest
import torch
from torch import Tensor

from espo_core import logprobs
from espo_core.logprobs import Head, Targets, Tile, backward_in_one_pass, token_statistics

T, N, H, V = 23, 11, 8, 17
LENGTHS = [3, 9, 1, 10]
# Plain, tempered, scaled as Granite's, capped as Gemma's.
HEADS = [(1.0, None, 1.0), (1.0, None, 0.7), (0.125, None, 0.7), (0.5, 3.0, 0.9)]
TILES = [V, 5 * V, 1 << 20]  # a row at a time, five with a rest, and all at once
PRECISIONS = [(torch.float64, 1e-12), (torch.float32, 2e-6)]


def problem(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States, weight, tokens and the state of each token: some are shared, some predict nothing."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, H, generator=generator, dtype=torch.float64)
    weight = torch.randn(V, H, generator=generator, dtype=torch.float64)
    tokens = torch.randint(0, V, (T,), generator=generator)
    rows = torch.randint(0, N - 1, (T,), generator=generator)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), tokens, rows


def reference(head: Head, hidden: Tensor, tokens: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The definition, token by token in float64."""
    logps, entropies = [], []
    for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
        scores = head.weight.double() @ hidden[row].double() * head.scale
        scores = (scores if head.cap is None else head.cap * torch.tanh(scores / head.cap)) / head.temperature
        p = scores.exp() / scores.exp().sum()
        logps.append(p[token].log())
        entropies.append(-(p * p.log()).sum())
    return torch.stack(logps), torch.stack(entropies)


def loss_of(logp: Tensor, entropy: Tensor, tokens: slice = slice(0, T)) -> Tensor:
    """A loss whose gradient depends on the values, as those of objectives do."""
    coefficients = torch.linspace(-1, 1, T, dtype=logp.dtype)
    return (coefficients[tokens] * logp.exp()).sum() + (coefficients.flip(0)[tokens] * entropy**2).sum()


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(("scale", "cap", "temperature"), HEADS)
@pytest.mark.parametrize("tile", TILES)
def test_values_and_gradients_are_the_definition(
    dtype: torch.dtype,
    tolerance: float,
    scale: float,
    cap: float | None,
    temperature: float,
    tile: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(logprobs.TILE_ELEMENTS, "cpu", tile)
    hidden, weight, tokens, rows = problem(dtype)
    head = Head(weight=weight, scale=scale, cap=cap, temperature=temperature)
    expected = reference(head, hidden, tokens, rows)
    expected_loss = loss_of(*(one.to(dtype) for one in expected))
    expected_gradients = torch.autograd.grad(expected_loss, [hidden, weight])
    logp, entropy = token_statistics(hidden, head, tokens, rows=rows)
    gradients = torch.autograd.grad(loss_of(logp, entropy), [hidden, weight])
    for one, other in zip((logp, entropy, *gradients), (*expected, *expected_gradients), strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=tolerance, atol=tolerance * 10)
    shares = in_one_pass(hidden, head, Targets(tokens=tokens, rows=rows, lengths=LENGTHS))
    torch.testing.assert_close(torch.stack(shares).sum(), expected_loss, rtol=tolerance, atol=tolerance * 10)
    for leaf, gradient in zip((hidden, weight), expected_gradients, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, gradient, rtol=tolerance, atol=tolerance * 10)


def in_one_pass(hidden: Tensor, head: Head, targets: Targets) -> list[Tensor]:
    """The shares of the loss, whose gradient is now in the leaves."""
    starts = [0, *torch.tensor(targets.lengths).cumsum(0).tolist()]
    shares = []

    def loss(responses: slice, logp: Tensor, entropy: Tensor) -> Tensor:
        shares.append(loss_of(logp, entropy, slice(starts[responses.start], starts[responses.stop])))
        return shares[-1]

    backward_in_one_pass(hidden * 1, head, targets, loss)
    return [share.detach() for share in shares]


def test_a_gradient_that_is_there_is_added_to(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, tokens, rows = problem(torch.float64)
    targets = Targets(tokens=tokens, rows=rows, lengths=LENGTHS)
    in_one_pass(hidden, Head(weight=weight), targets)
    assert weight.grad is not None
    once, buffer = weight.grad.clone(), weight.grad
    in_one_pass(hidden, Head(weight=weight), targets)
    assert weight.grad is buffer
    torch.testing.assert_close(weight.grad, 2 * once)


@pytest.mark.parametrize("tile", TILES)
def test_a_weight_that_is_computed_hands_its_gradient_on(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # As an output layer with an adapter does.
    monkeypatch.setitem(logprobs.TILE_ELEMENTS, "cpu", tile)
    hidden, base, tokens, rows = problem(torch.float64)
    low, up = torch.randn(2, H, dtype=torch.float64), torch.randn(V, 2, dtype=torch.float64)
    low.requires_grad_()
    head = Head(weight=base.detach() + up @ low)
    expected = torch.autograd.grad(loss_of(*reference(head, hidden, tokens, rows)), low, retain_graph=True)[0]
    in_one_pass(hidden, head, Targets(tokens=tokens, rows=rows, lengths=LENGTHS))
    torch.testing.assert_close(low.grad, expected)


def test_a_frozen_weight_gets_no_gradient_and_each_output_can_stand_alone() -> None:
    hidden, weight, tokens, rows = problem(torch.float64)
    head = Head(weight=weight.detach())
    token_statistics(hidden, head, tokens, rows=rows)[1].sum().backward()
    expected = torch.autograd.grad(reference(head, hidden, tokens, rows)[1].sum(), hidden)[0]
    torch.testing.assert_close(hidden.grad, expected, rtol=1e-12, atol=1e-12)
    hidden.grad = None
    in_one_pass(hidden, head, Targets(tokens=tokens, rows=rows, lengths=LENGTHS))
    assert hidden.grad is not None
    assert head.weight.grad is None


# From 1e-9 on float32 cannot tell the likeliest token from certainty, which is a thirtieth of the entropy.
@pytest.mark.parametrize(("gap", "tolerance"), [(3.0, 1e-5), (12.0, 1e-2), (30.0, 0.05), (torch.inf, 0)])
def test_what_is_nearly_certain_keeps_its_digits(gap: float, tolerance: float) -> None:
    exact = torch.tensor([[40.0, 40.0 - gap]], dtype=torch.float64).log_softmax(1)
    tile = Tile(Head(weight=torch.tensor([[40.0], [40.0 - gap]])), torch.ones(1, 1))
    expected = -(exact.exp() * exact.clamp_min(-1e300)).sum()
    torch.testing.assert_close(tile.entropy.double(), expected[None], rtol=tolerance, atol=0)


def test_bfloat16_is_multiplied_into_float32() -> None:
    hidden, weight, tokens, rows = problem(torch.bfloat16)
    head = Head(weight=weight)
    expected = reference(head, hidden, tokens, rows)
    logp, entropy = token_statistics(hidden, head, tokens, rows=rows)
    torch.testing.assert_close(logp.double(), expected[0], rtol=2e-6, atol=2e-5)
    torch.testing.assert_close(entropy.double(), expected[1], rtol=2e-6, atol=2e-5)
    in_one_pass(hidden, head, Targets(tokens=tokens, rows=rows, lengths=LENGTHS))
    gradients = torch.autograd.grad(loss_of(*(one.float() for one in expected)), [hidden, weight])
    for leaf, gradient in zip((hidden, weight), gradients, strict=True):
        assert leaf.grad is not None
        assert leaf.grad.dtype == torch.bfloat16
        torch.testing.assert_close(leaf.grad.float(), gradient.float(), rtol=0.03, atol=0.03)
