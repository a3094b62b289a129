from __future__ import annotations

import random

import numpy as np
import torch

from espo_core.randomness import Uniforms, derived_seed, seed_everything


def test_seeds_differ_by_purpose_and_fit_63_bits() -> None:
    seeds = [derived_seed(seed, "step", step) for seed in range(20) for step in range(20)]
    assert len(set(seeds)) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(1, "a", 2) == derived_seed(1, "a", 2)


def test_seed_everything_sets_every_global_state() -> None:
    def draws() -> tuple[float, float, float]:
        seed_everything(5, "step", 1)
        return random.random(), float(np.random.random()), torch.rand(()).item()

    first = draws()
    random.random(), np.random.random(), torch.rand(3)
    assert draws() == first


def test_uniforms_depend_on_position_and_row_only() -> None:
    straight = Uniforms(seed=1, rows=3)
    columns = [straight.column(position).tolist() for position in range(130)]
    jumping = Uniforms(seed=1, rows=3)
    assert [jumping.column(position).tolist() for position in (129, 0, 64, 63)] == [
        columns[position] for position in (129, 0, 64, 63)
    ]
    assert len({value for column in columns for value in column}) == 390
    assert all(0 <= value < 1 for column in columns for value in column)
    assert Uniforms(seed=2, rows=3).column(0).tolist() != columns[0]
