"""Files through the SDK in strict mode."""

from __future__ import annotations

import openai as sdk
import pytest
from openai import AsyncOpenAI

from tests.api.openai_compat.sdk import LINES


async def test_files_go_their_whole_way(openai: AsyncOpenAI) -> None:
    made = [await openai.files.create(file=(f"{n}.jsonl", LINES), purpose="fine-tune") for n in range(3)]
    other = await openai.files.create(file=("e.jsonl", LINES), purpose="user_data")
    ids = [file.id for file in made]
    assert (await openai.files.retrieve(ids[0])).filename == "0.jsonl"
    assert (await openai.files.wait_for_processing(ids[0])).status == "processed"
    assert (await openai.files.content(ids[0])).content == LINES
    assert [file.id async for file in openai.files.list(limit=2)] == [other.id, *reversed(ids)]
    assert [file.id async for file in openai.files.list(limit=1, order="asc", purpose="fine-tune")] == ids
    assert (await openai.files.delete(ids[0])).deleted
    with pytest.raises(sdk.NotFoundError, match="no file"):
        await openai.files.retrieve(ids[0])
    expiring = openai.files.create(
        file=("e.jsonl", LINES),
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    with pytest.raises(sdk.BadRequestError, match="files here do not expire"):
        await expiring
