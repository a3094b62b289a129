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
    rows, positions = np.repeat(np.arange(70), 130), np.tile(np.arange(130), 70)
    together = Uniforms(seed=1).at(rows, positions)
    order = np.random.default_rng(0).permutation(len(rows))
    one_by_one = Uniforms(seed=1)
    for chosen in np.array_split(order, 50):
        assert np.array_equal(one_by_one.at(rows[chosen], positions[chosen]), together[chosen])
    assert len(set(together.tolist())) == len(together)
    assert (together >= 0).all()
    assert (together < 1).all()
    assert abs(together.mean() - 0.5) < 0.01
    assert not np.array_equal(Uniforms(seed=2).at(rows, positions), together)
