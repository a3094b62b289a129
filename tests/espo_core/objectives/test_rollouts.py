"""The random batches hold every kind of response that the references are to be compared on."""

from tests.espo_core.algorithms.agreement import SEEDS
from tests.espo_core.objectives.rollouts import Response, mates, random_responses, token_batch


def kinds_of(responses: list[Response], one: Response) -> set[str]:
    """What is special about a response among the others."""
    rewards = [mate.reward for mate in mates(responses, one)]
    kinds = {
        "one token": len(one.logp) == 1,
        "unverified": not one.verified and bool(rewards),
        "no verdict in its group": not rewards,
        "equal rewards in its group": len(rewards) > 1 and len(set(rewards)) == 1,
        "alone in its group": len(rewards) == 1 and one.verified,
        "good": one.advantage > 0,
        "bad": one.advantage < 0,
        "no success in its group": bool(rewards) and max(rewards) <= 0,
        "equal entropies": len(set(one.entropy)) < len(one.entropy),
        "no entropy": 0.0 in one.entropy,
    }
    return {kind for kind, is_so in kinds.items() if is_so}


def test_every_kind_of_response_occurs() -> None:
    found = [random_responses(seed, count=16) for seed in SEEDS]
    kinds = set().union(*(kinds_of(responses, one) for responses in found for one in responses))
    assert kinds == {
        "one token",
        "unverified",
        "no verdict in its group",
        "equal rewards in its group",
        "alone in its group",
        "good",
        "bad",
        "no success in its group",
        "equal entropies",
        "no entropy",
    }


def test_groups_have_gaps_and_numbers_are_those_of_float32() -> None:
    batch = token_batch(random_responses(0))
    assert batch.group is not None
    assert batch.group.unique().tolist() == [1, 4, 7]
    for values in (batch.logp, batch.logp_old, batch.entropy_old, batch.advantage):
        assert (values.float().double() == values).all()
