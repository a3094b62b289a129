"""GSPO-token against GSPO's reference, and where its tokens have advantages of their own."""

from dataclasses import replace

import pytest
import torch

from espo_core.errors import ConfigError
from espo_core.objectives import get_objective
from tests.espo_core.algorithms.agreement import CLIPPED, assert_agrees_on_random_batches, branches_of
from tests.espo_core.objectives.references.sequence import gspo
from tests.espo_core.objectives.rollouts import gradient_of, random_responses, token_batch

PARAMETERS: list[dict[str, object]] = [{}, {"epsilon_low": 0.01, "epsilon_high": 0.0133}]


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_agrees_with_the_reference(parameters: dict[str, object]) -> None:
    assert_agrees_on_random_batches(get_objective("gspo_token", **parameters), gspo, parameters)


def test_the_random_batches_reach_every_branch() -> None:
    assert branches_of(gspo, **PARAMETERS[1]) == CLIPPED


def test_each_token_carries_its_own_advantage() -> None:
    """Value and gradient of a token are s_i Â_{i,t} / (R n), whatever the other tokens' advantages are."""
    batch = token_batch(random_responses(3))
    credit = torch.linspace(-2, 2, batch.tokens, dtype=torch.float64)
    batch = replace(batch, credit=credit, level=torch.zeros_like(batch.response))
    out = get_objective("gspo_token", epsilon_low=1.0, epsilon_high=100.0)(batch)
    length = batch.lengths().double()
    log = (batch.logp - batch.logp_old).detach()
    ratio = (torch.zeros_like(length).index_add(0, batch.response, log) / length).exp()
    each = (ratio / length / batch.responses)[batch.response] * credit
    torch.testing.assert_close(out.loss, -each.sum())
    torch.testing.assert_close(gradient_of(out.loss, batch), -each)


def test_refuses_values_out_of_bounds() -> None:
    with pytest.raises(ConfigError, match="epsilon_high"):
        get_objective("gspo_token", epsilon_high=0.0)
