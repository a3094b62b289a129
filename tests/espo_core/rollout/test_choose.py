from __future__ import annotations

import pytest
import torch

from espo_core.rollout.choose import choose, truncated
from espo_core.rollout.engine import Sampling

P = torch.tensor([[0.1, 0.4, 0.0, 0.3, 0.2]])
PLAIN = Sampling(responses=1, max_new_tokens=1)


def chosen(uniform: list[float], sampling: Sampling = PLAIN) -> list[int]:
    rows = len(uniform)
    return choose(P.log().expand(rows, -1), torch.tensor(uniform, dtype=torch.float64), sampling).tolist()


def test_the_inverse_of_the_cumulative_distribution() -> None:
    assert chosen([0.0, 0.05, 0.15, 0.45, 0.55, 0.75, 0.85, 1 - 2**-53]) == [0, 0, 1, 1, 3, 3, 4, 4]


def test_a_token_of_probability_zero_is_never_drawn() -> None:
    border = P.double().cumsum(-1)[0, 1].item()
    assert 2 not in chosen([border - 1e-16, border, border + 1e-16])
    last = torch.tensor([[0.5, 0.5, 0.0]]).log()
    assert choose(last, torch.tensor([1 - 2**-53], dtype=torch.float64), PLAIN).tolist() == [1]


def test_frequencies_are_the_probabilities() -> None:
    uniform = torch.rand(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tokens = choose(P.log().expand(100_000, -1), uniform, PLAIN)
    torch.testing.assert_close(torch.bincount(tokens, minlength=5) / 100_000, P[0], atol=5e-3, rtol=0)


def test_greedy_takes_the_likeliest() -> None:
    assert chosen([0.01, 0.99], Sampling(responses=1, max_new_tokens=1, is_greedy=True)) == [1, 1]


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({"top_k": 2}, [1, 3]),
        ({"top_k": 50}, [0, 1, 3, 4]),
        ({"top_p": 0.5}, [1, 3]),
        ({"top_p": 0.4}, [1]),
        ({"top_p": 0.75}, [1, 3, 4]),
        ({"top_p": 1e-9}, [1]),
        ({"top_k": 3, "top_p": 0.7}, [1, 3]),
    ],
)
def test_truncation_keeps_the_likeliest(limits: dict[str, float], kept: list[int]) -> None:
    left = truncated(P.log(), Sampling(responses=1, max_new_tokens=1, **limits))  # type: ignore[arg-type]
    assert left[0].isfinite().nonzero()[:, 0].tolist() == kept


def test_a_diverged_model_does_not_crash() -> None:
    assert choose(
        torch.full((1, 5), torch.nan), torch.tensor([0.5], dtype=torch.float64), PLAIN
    ).tolist() == [4]
