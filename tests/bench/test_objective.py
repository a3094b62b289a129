"""What the objective's figures say of memory, and what they say without the peers."""

import pytest
import torch

from bench.objective import SPREAD, largest_allocation, main
from bench.peers.random_batch import Size, random_batch
from espo_core.algorithms import ALGORITHMS
from espo_core.objectives import get_objective
from espo_core.objectives.trajectory import FEATURES, TrajectoryBaseline


@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_tensor_is_larger_than_the_packed_tokens(name: str) -> None:
    """Lengths from 1 to 400: padded, the batch would be nearly twice as large."""
    size = Size(responses=32, group=8, shortest=1, longest=400)
    batch = random_batch(size, seed=0, dtype=torch.float32, spread=SPREAD)
    assert size.responses * int(batch.lengths().max()) > 1.5 * batch.tokens
    objective = get_objective(name)
    # Once a rollout batch the baseline makes one row of features a token.
    rows = FEATURES if isinstance(objective.credit, TrajectoryBaseline) else 1
    assert 1 <= largest_allocation(objective, batch) <= 1.1 * rows


def test_a_padded_tensor_would_be_seen() -> None:
    batch = random_batch(
        Size(responses=8, group=8, shortest=1, longest=50), seed=0, dtype=torch.float32, spread=SPREAD
    )
    objective = get_objective("grpo")

    class Padding:
        def prepare(self, prepared: object) -> object:
            torch.zeros(batch.responses, 50)
            return objective.prepare(batch)

        def fitted(self, prepared: object) -> object:
            return objective

    assert largest_allocation(Padding(), batch) > 1.2  # type: ignore[arg-type]


def test_refuses_without_the_peers_and_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.peers.installed.PEERS", ("a peer that nobody has",))
    monkeypatch.setattr("sys.argv", ["bench.objective"])
    with pytest.raises(SystemExit, match="a peer that nobody has not installed: make test-peers"):
        main()
