"""The SDK on the app of this process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from openai import AsyncOpenAI

from api.auth.keys import Scope
from tests.api.conftest import Service
from tests.api.openai_compat.sdk import LINES, sdk


@pytest.fixture
async def openai(service: Service) -> AsyncIterator[AsyncOpenAI]:
    """The SDK in strict mode, for the project `ours`."""
    async with sdk(service.app, await service.key("ours", [Scope.READ, Scope.WRITE])) as client:
        yield client


@pytest.fixture
async def training_file(openai: AsyncOpenAI) -> str:
    """Id of an uploaded file of 20 rows."""
    return (await openai.files.create(file=("sums.jsonl", LINES), purpose="fine-tune")).id
