"""The rollout of a step, gathered from a small model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from espo_contracts.spec import RewardPart
from espo_core.errors import NonFiniteLossError
from espo_core.gather import Gatherer
from espo_core.pending import PendingRollout, pending_tensors
from espo_core.samplers.dynamic import Gathered
from espo_core.setup import RunInputs, prepare_run
from espo_core.sources import InTurn
from tests.espo_core.tiny import tiny_job


def gatherer(tiny_model: Path, *, full_until: int = 0, **rollout: Any) -> Gatherer:
    spec = tiny_job(rollout=rollout)
    length = RewardPart(
        verifier="length", parameters={"full_until": full_until, "zero_from": full_until + 12}
    )
    spec = spec.model_copy(update={"reward": [length]})
    source = prepare_run(RunInputs(spec=spec, work_dir=tiny_model, model=tiny_model)).rollouts
    assert isinstance(source, InTurn)
    return source.gatherer


def test_a_step_asks_the_sampler_and_draws_by_its_number(tiny_model: Path) -> None:
    source = gatherer(tiny_model)
    expected = source.gather(3)
    assert expected.sampled.prompts == [source.prompts[place] for place in expected.places]
    assert len(source.gather(4).places) == 4
    assert source.sampler.state().position == 8
    assert _everything(gatherer(tiny_model).gather(3)) == _everything(expected)
    assert _everything(gatherer(tiny_model).gather(4)) != _everything(expected)


@pytest.mark.parametrize(
    ("full_until", "rounds"), [(0, 1), (11, 2), (1000, 3)], ids=["contrast", "a little contrast", "none"]
)
def test_what_a_checkpoint_keeps_of_it_gives_all_of_it(
    full_until: int, rounds: int, tiny_model: Path
) -> None:
    dynamic = {"dynamic_sampling": True, "max_sampling_rounds": 3, "prompts_per_step": 6}
    source = gatherer(tiny_model, full_until=full_until, **dynamic)
    gathered = source.gather(2)
    assert gathered.rounds == rounds
    kept = PendingRollout.of(gathered, step=2, weights=0)
    read = PendingRollout.model_validate_json(kept.model_dump_json())
    again = read.gathered(source, pending_tensors(gathered.sampled.rollout, step=2))
    assert read == kept
    assert _everything(again) == _everything(gathered)


def test_log_probabilities_that_are_not_numbers_end_the_run(tiny_model: Path) -> None:
    source = gatherer(tiny_model)
    with torch.no_grad():
        source.policy.weight.fill_(torch.inf)
    with pytest.raises(NonFiniteLossError, match="step 7"):
        source.gather(7)


def _everything(gathered: Gathered) -> list[object]:
    parts = [gathered.sampled, gathered.kept]
    rollouts = [
        getattr(part.rollout, name).tolist()
        for part in parts
        for name in ("tokens", "logp", "entropy", "lengths", "is_truncated")
    ]
    rest = [(part.prompts, part.scored) for part in parts]
    return [list(gathered.places), gathered.rounds, *rollouts, *rest]
