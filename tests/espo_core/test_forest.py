from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espo_core import forest as forest_module
from espo_core.attention import attention
from espo_core.block_mask import BlockMask
from espo_core.forest import Forest, Ints
from espo_core.policy import Policy

CPU = torch.device("cpu")
SEQUENCES = [(5, 6, 7, 8), (5, 6, 9), (5, 6), (10,), (5, 6, 9), (5, 11, 12, 13, 14, 15), (5, 6, 7, 8, 16)]


def rows(sequences: list[tuple[int, ...]]) -> tuple[Ints, Ints]:
    lengths = np.array([len(one) for one in sequences])
    ids = np.zeros((len(sequences), lengths.max()), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
    return ids, lengths


def forest_of(sequences: list[tuple[int, ...]]) -> Forest:
    return Forest(*rows(sequences), device=CPU)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=1, max_size=9))
def test_a_node_is_a_token_with_all_that_precedes_it(sequences: list[tuple[int, ...]]) -> None:
    forest = forest_of(sequences)
    beginnings = {one[:end] for one in sequences for end in range(1, len(one) + 1)}
    assert forest.nodes == len(beginnings)
    assert sorted(forest.order.tolist()) == list(range(len(sequences)))
    known: dict[int, tuple[int, ...]] = {}
    for place, index in enumerate(forest.order.tolist()):
        for column in range(len(sequences[index])):
            node = int(forest.paths[place, column])
            assert known.setdefault(node, sequences[index][: column + 1]) == sequences[index][: column + 1]
    for node, beginning in known.items():
        assert forest.ids[node] == beginning[-1]
        assert forest.positions[node] == len(beginning) - 1


@pytest.fixture(params=[0, 1 << 16])
def bucket_scores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each length a bucket of its own, and all in one."""
    monkeypatch.setattr(forest_module, "BUCKET_SCORES", request.param)
    return iter(())


@pytest.mark.usefixtures("bucket_scores")
@pytest.mark.parametrize("heads", [4, 2])
def test_attention_and_its_gradient_are_those_of_separate_rows(heads: int) -> None:
    forest = forest_of(SEQUENCES)
    generator = torch.Generator().manual_seed(0)
    shapes = [(forest.nodes, 4, 8), (forest.nodes, heads, 8), (forest.nodes, heads, 8)]
    inputs = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes
    ]
    together = forest.attend(0, inputs[0], inputs[1], inputs[2], 0.3)
    apart = torch.zeros_like(together)
    for place, index in enumerate(forest.order.tolist()):
        path = torch.from_numpy(forest.paths[place, : len(SEQUENCES[index])])
        q, k, v = (one[path].transpose(0, 1)[None] for one in inputs)
        apart = apart.index_put((path,), attention(q, k, v, mask=None, scaling=0.3)[0].transpose(0, 1))
    torch.testing.assert_close(together, apart, rtol=1e-13, atol=1e-13)
    weights = torch.randn(together.shape, generator=generator, dtype=torch.float64)
    ours = torch.autograd.grad((weights * together**2).sum(), inputs)
    theirs = torch.autograd.grad((weights * apart**2).sum(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("bucket_scores")
def test_states_and_gradients_of_a_model_are_those_of_separate_rows(policy: Policy) -> None:
    policy.model.double()
    forest = forest_of(SEQUENCES)
    states = policy.read(forest)
    told: list[Any] = []
    for place, index in enumerate(forest.order.tolist()):
        alone = policy.model.base_model(input_ids=torch.tensor([SEQUENCES[index]])).last_hidden_state[0]
        told.append((states[torch.from_numpy(forest.paths[place, : len(alone)])], alone))
    for ours, theirs in told:
        # The library's norm computes in float32.
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    parameters = [one for name, one in policy.model.named_parameters() if "lm_head" not in name]
    ours, theirs = (
        torch.autograd.grad(sum((one[side] ** 3).sum() for one in told), parameters) for side in (0, 1)
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_runs_are_bounded_and_hold_each_sequence_once() -> None:
    forest = forest_of(SEQUENCES)
    for most in range(1, forest.nodes + 1):
        runs = list(forest.cut(most))
        assert [place for run in runs for place in range(run.start, run.stop)] == list(range(len(SEQUENCES)))
        for run in runs:
            part = forest_of([SEQUENCES[index] for index in forest.order[run]])
            assert part.nodes <= max(most, 6)
            assert part.nodes <= most or run.stop - run.start == 1
    assert len(list(forest.cut(forest.nodes))) == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=1, max_size=9))
def test_what_goes_on_from_a_node_follows_it_without_a_gap(sequences: list[tuple[int, ...]]) -> None:
    forest = forest_of(sequences)
    ends = forest.ends()
    for node in range(forest.nodes):
        seen = {
            int(other)
            for place, index in enumerate(forest.order.tolist())
            for depth, other in enumerate(forest.paths[place, : len(sequences[index])])
            if node in forest.paths[place, depth : len(sequences[index])]
        }
        assert {one for one in range(forest.nodes) if one <= node < ends[one]} == seen


@torch.no_grad()
@pytest.mark.filterwarnings(
    "ignore:flex_attention called without torch.compile"
)  # a CPU has no gradient for it
@pytest.mark.parametrize("heads", [4, 2])
def test_one_kernel_for_the_whole_forest_gives_the_same(heads: int) -> None:
    forest = forest_of(SEQUENCES)
    query, key, value = (torch.randn(forest.nodes, one, 16) for one in (4, heads, heads))
    masked = BlockMask(forest.on_device(forest.ends())).attend(query, key, value, 0.3)
    torch.testing.assert_close(masked, forest.attend(0, query, key, value, 0.3), rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_states_and_gradients_on_a_gpu_are_those_on_the_cpu(policy: Policy) -> None:
    def gradients(device: str) -> list[torch.Tensor]:
        policy.model.to(device).zero_grad()
        states = policy.read(Forest(*rows(SEQUENCES), device=torch.device(device)))
        (states**3).sum().backward()
        return [
            states.detach().cpu(),
            *(one.grad.cpu() for one in policy.trainable().values() if one.grad is not None),
        ]

    for one, other in zip(gradients("cuda"), gradients("cpu"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
