"""OpenAI's own client in its strict mode, and what tests send with it."""

from __future__ import annotations

from typing import Any

import httpx2
from fastapi import FastAPI
from openai import AsyncOpenAI

LINES = b"".join(
    b'{"prompt": "%d+%d=", "answer": "%d"}\n' % (a, b, a + b) for a in range(5) for b in range(4)
)

GRADER: dict[str, Any] = {
    "type": "string_check",
    "name": "right",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


def sdk(app: FastAPI, key: str, *, is_strict: bool = True) -> AsyncOpenAI:
    """A client whose every answer is validated, on an app in this process."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    return AsyncOpenAI(
        api_key=key,
        base_url="http://espo.test/v1",
        http_client=httpx2.AsyncClient(transport=transport),
        max_retries=0,
        _strict_response_validation=is_strict,
    )


def method(grader: dict[str, Any] | None = None, **hyperparameters: Any) -> Any:
    """A request's `method`."""
    reinforcement = {"grader": grader or GRADER, "hyperparameters": hyperparameters}
    return {"type": "reinforcement", "reinforcement": reinforcement}
