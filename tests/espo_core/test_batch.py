"""TokenBatch: what it refuses, and the selection of responses."""

import math
from typing import Any

import pytest
import torch

from espo_core.batch import TokenBatch, Totals
from espo_core.errors import ConfigError


def fields(**changed: Any) -> dict[str, Any]:
    """Five tokens of three responses, every optional field filled."""
    tokens = torch.arange(5, dtype=torch.float32)
    return {
        "logp": tokens,
        "logp_old": tokens,
        "entropy_old": tokens,
        "response": torch.tensor([0, 0, 1, 2, 2]),
        "advantage": torch.tensor([1.0, 2.0, 3.0]),
        "vocab_size": 19,
        "logp_ref": tokens,
        "entropy": tokens,
        "group": torch.tensor([7, 7, 8]),
        "reward": torch.tensor([0.1, 0.2, 0.3]),
        "level": torch.tensor([0, 1, 0, 1, 0]),
        "importance": tokens,
        **changed,
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"logp": [0.0] * 5}, "logp must be a 1-D tensor"),
        ({"advantage": 1.0}, "advantage must be a 1-D tensor"),
        ({"logp_old": torch.zeros(1, 5)}, "logp_old must be a 1-D tensor"),
        ({"entropy_old": torch.zeros(4)}, "entropy_old must have T = 5 elements, not 4"),
        ({"importance": torch.zeros(3)}, "importance must have T = 5 elements, not 3"),
        ({"reward": torch.zeros(5)}, "reward must have R = 3 elements, not 5"),
        ({"advantage": torch.zeros(3, dtype=torch.float64)}, "advantage must be torch.float32"),
        ({"response": torch.tensor([0, 0, 1, 2, 2], dtype=torch.int32)}, "response must be torch.int64"),
        ({"group": torch.zeros(3)}, "group must be torch.int64"),
        ({"logp_ref": torch.zeros(5, device="meta")}, "logp_ref is on meta"),
        ({"response": torch.tensor([0, 1, 0, 2, 2])}, "non-decreasing"),
        ({"response": torch.tensor([0, 0, 1, 2, 3])}, "R-1 = 2"),
        ({"response": torch.tensor([-1, 0, 1, 2, 2])}, "between 0 and"),
        ({"vocab_size": 1}, "vocab_size"),
        ({"vocab_size": 19.0}, "vocab_size"),
    ],
)
def test_names_the_field_that_is_wrong(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TokenBatch(**fields(**changed))


def test_refuses_half_precision() -> None:
    half = torch.zeros(5, dtype=torch.bfloat16)
    with pytest.raises(ConfigError, match="float32 or float64"):
        TokenBatch(**fields(logp=half))


def test_refuses_an_empty_batch() -> None:
    empty = torch.zeros(0)
    with pytest.raises(ConfigError, match="no token"):
        TokenBatch(
            logp=empty,
            logp_old=empty,
            entropy_old=empty,
            response=torch.zeros(0, dtype=torch.int64),
            advantage=torch.zeros(1),
            vocab_size=19,
        )


def test_sizes() -> None:
    batch = TokenBatch(**fields())
    assert (batch.tokens, batch.responses) == (5, 3)
    assert batch.lengths().tolist() == [2, 1, 2]
    assert batch.token_advantage.tolist() == [1, 1, 2, 3, 3]
    assert batch.mini_batch == Totals(responses=3, tokens=5)


def test_selects_responses_in_the_order_asked() -> None:
    totals = Totals(responses=30, tokens=50)
    picked = TokenBatch(**fields(totals=totals)).select(torch.tensor([2, 0]))
    assert picked.response.tolist() == [0, 0, 1, 1]
    for name in ("logp", "logp_old", "entropy_old", "logp_ref", "entropy", "importance"):
        assert getattr(picked, name).tolist() == [3, 4, 0, 1]
    assert picked.level is not None
    assert picked.level.tolist() == [1, 0, 0, 1]
    assert picked.advantage.tolist() == [3, 1]
    assert picked.group is not None
    assert picked.group.tolist() == [8, 7]
    assert picked.reward is not None
    assert picked.reward.tolist() == pytest.approx([0.3, 0.1])
    assert picked.mini_batch == totals


def test_selection_passes_the_gradient_through() -> None:
    logp = torch.zeros(5, requires_grad=True)
    picked = TokenBatch(**fields(logp=logp)).select(torch.tensor([1]))
    (gradient,) = torch.autograd.grad(picked.logp.sum() * math.pi, logp)
    assert gradient.tolist() == pytest.approx([0, 0, math.pi, 0, 0])


def test_response_without_a_token_is_allowed() -> None:
    batch = TokenBatch(**fields(response=torch.tensor([0, 0, 2, 2, 2])))
    assert batch.lengths().tolist() == [2, 0, 3]
    assert batch.select(torch.tensor([1, 2])).response.tolist() == [1, 1, 1]
