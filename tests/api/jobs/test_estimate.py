from __future__ import annotations

from api.catalogue.models import facts_of
from api.jobs.estimate import estimate
from api.jobs.workload import DataFacts
from tests.api.jobs.needs import TINY_BASE, job


def test_without_a_model_there_are_only_tokens() -> None:
    told = estimate(job(), None, DataFacts())
    assert (told.rollout_tokens, told.prompt_tokens) == (10 * 32 * 8 * 256, 200)
    assert (told.memory_bytes, told.memory, told.seconds, told.time) == (None, None, None, None)


def test_the_total_is_at_least_every_part() -> None:
    told = estimate(job(), facts_of(TINY_BASE), DataFacts(characters=12))
    assert told.parameters == told.trainable_parameters == 225_888
    assert told.memory is not None
    assert told.memory_bytes == sum(told.memory.model_dump().values())
    assert told.time is not None
    assert told.seconds == round(sum(told.time.model_dump().values()), 3)
