"""Hints doubled, late, of jobs that are not there, lost; and messages in their queue that are none."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from random import Random
from typing import Any

from redis import Redis

from espo_contracts.wire import TASK_NAME, Hint, queue_name
from tests.chaos.fault import Fault, NothingToHarm
from tests.chaos.stack import Stack

QUEUE = queue_name("cpu")


def message(keywords: Any, **changes: Any) -> bytes:
    """A Celery message as the dispatcher sends it."""
    identity = str(uuid.uuid4())
    body = base64.b64encode(json.dumps([[], keywords, {}]).encode()).decode()
    properties = {
        "correlation_id": identity,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": QUEUE},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": str(uuid.uuid4()),
    }
    document = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": TASK_NAME, "id": identity, "argsrepr": "()", "kwargsrepr": "{}"},
        "properties": properties,
    }
    return json.dumps(document | changes).encode()


GARBAGE: dict[str, Callable[[Random], bytes]] = {
    "bytes": lambda rng: rng.randbytes(50),
    "nothing": lambda _: b"",
    "another document": lambda _: b"{}",
    "a list": lambda _: b"[1, 2]",
    "a number": lambda rng: str(rng.random()).encode(),
    "no properties": lambda _: message({}, properties={}),
    "no headers": lambda _: message({}, headers={}),
    "another task": lambda _: message({}, headers={"task": "celery.chord", "id": "x"}),
    "another body": lambda _: message({}, body="&&&"),
    "a pickle": lambda _: message({}, **{"content-type": "application/x-python-serialize"}),
    "no keywords": lambda _: message({}),
    "too much": lambda _: message({"job": "job-" + "0" * 32, "attempt": 1, "more": "x" * 10_000}),
    "a wrong attempt": lambda _: message({"job": "job-" + "0" * 32, "attempt": -1}),
    "a wrong job": lambda _: message({"job": "../../etc/passwd", "attempt": 1}),
}


def push(client: Redis, messages: list[bytes]) -> None:
    """Puts messages where a worker takes the next ones."""
    client.rpush(QUEUE, *messages)


def _attempts(stack: Stack, condition: str) -> list[Hint]:
    rows = stack.query(f"SELECT job_id, number FROM attempts WHERE {condition} ORDER BY job_id, number")
    return [Hint(job=job, attempt=number) for job, number in rows]


def doubled(stack: Stack, rng: Random) -> None:
    """A live attempt is hinted to both workers at once, several times."""
    live = _attempts(stack, "ended_at IS NULL")
    if not live:
        raise NothingToHarm
    with stack.connect() as client:
        push(client, [message(rng.choice(live).model_dump()) for _ in range(rng.randint(2, 6))])


def late(stack: Stack, rng: Random) -> None:
    """Attempts that ended, and some that never were."""
    hints = _attempts(stack, "ended_at IS NOT NULL")
    chosen = rng.sample(hints, min(len(hints), rng.randint(1, 5)))
    future = [Hint(job=hint.job, attempt=hint.attempt + rng.randint(1, 9)) for hint in chosen[:2]]
    nobody = Hint(job=f"job-{rng.getrandbits(128):032x}", attempt=rng.randint(1, 3))
    with stack.connect() as client:
        push(client, [message(hint.model_dump()) for hint in (*chosen, *future, nobody)])


def garbage(stack: Stack, rng: Random) -> None:
    """Messages that are no hints, before those that are."""
    kinds = rng.sample(sorted(GARBAGE), 3)
    with stack.connect() as client:
        push(client, [GARBAGE[kind](rng) for kind in kinds])


def lost(stack: Stack, rng: Random) -> None:
    """The whole queue is gone."""
    with stack.connect() as client:
        client.delete(QUEUE)


FAULTS = (
    Fault(name="hints doubled to both workers", inject=doubled),
    Fault(name="hints late, or of nobody", inject=late),
    Fault(name="garbage among the hints", inject=garbage),
    Fault(name="hints lost", inject=lost),
)
