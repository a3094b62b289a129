"""OpenAI's own SDK in strict mode, from an upload to a model that is the base of the next job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from tests.e2e.service import Service, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ENDED = ("succeeded", "failed", "cancelled")
# Chats of the tiny base model's own characters: its chat template writes the contents one after another.
ROWS = [
    {"messages": [{"role": "user", "content": f"{a} {b}>{a + b}:"}], "answer": f"{a}+{b}"}
    for a in range(1, 7)
    for b in range(1, 5)
]
METHOD: Any = {
    "type": "reinforcement",
    "reinforcement": {
        "grader": {
            "type": "text_similarity",
            "name": "near",
            "input": "{{sample.output_text}}",
            "reference": "{{item.answer}}",
            "evaluation_metric": "fuzzy_match",
        },
        "hyperparameters": {"batch_size": 4, "learning_rate_multiplier": 100.0},
    },
}


@pytest.fixture
def openai(service: Service) -> Iterator[OpenAI]:
    with OpenAI(
        api_key=service.api_key, base_url=f"{service.base_url}/v1", _strict_response_validation=True
    ) as client:
        yield client


def espo(**schedule: int) -> dict[str, Any]:
    """A short job's settings that the SDK has no words for."""
    return {"espo": {"rollout": {"group_size": 2, "max_new_tokens": 8}, "schedule": schedule}}


def state(job: FineTuningJob) -> str:
    assert job.model_extra is not None
    return str(job.model_extra["espo"]["status"])


def test_the_sdk_goes_the_whole_way(openai: OpenAI) -> None:
    jobs = openai.fine_tuning.jobs
    lines = "\n".join(map(json.dumps, ROWS)).encode()
    file = openai.files.create(file=("pairs.jsonl", lines), purpose="fine-tune")
    assert openai.files.wait_for_processing(file.id, poll_interval=0.1).status == "processed"
    made = jobs.create(
        model="tiny-base",
        training_file=file.id,
        method=METHOD,
        extra_body=espo(steps=4, checkpoint_every=2),
    )
    wait_until(lambda: jobs.retrieve(made.id).status in ENDED, seconds=150, what="the job ends")
    done = jobs.retrieve(made.id)
    assert (done.status, done.error) == ("succeeded", None)
    events = list(jobs.list_events(made.id, limit=5))
    steps = [event.message for event in reversed(events) if event.type == "metrics"]
    assert steps == [f"step {step}" for step in range(1, 5)]
    checkpoints = list(jobs.checkpoints.list(made.id, limit=1))
    assert [found.step_number for found in checkpoints] == [4, 2]
    assert done.fine_tuned_model == checkpoints[0].fine_tuned_model_checkpoint
    _stop_and_go(openai, str(done.fine_tuned_model), file.id)


def _stop_and_go(openai: OpenAI, model: str, file_id: str) -> None:
    """A job from the first one's weights: paused while it runs, resumed, cancelled."""
    jobs = openai.fine_tuning.jobs
    job = jobs.create(model=model, training_file=file_id, method=METHOD, extra_body=espo(steps=100_000)).id

    def becomes(status: str) -> None:
        wait_until(lambda: state(jobs.retrieve(job)) == status, seconds=90, what=f"the job is {status}")

    becomes("running")
    jobs.pause(job)
    becomes("paused")
    assert jobs.retrieve(job).status == "queued"
    jobs.resume(job)
    becomes("running")
    jobs.cancel(job)
    becomes("cancelled")
    assert job in [found.id for found in jobs.list(limit=2)]
