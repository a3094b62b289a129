"""Graders checked and tried out through the SDK in strict mode."""

from __future__ import annotations

from typing import Any

import openai as sdk
import pytest
from openai import AsyncOpenAI

from tests.api.marks import on_sqlite
from tests.api.openai_compat.sdk import GRADER

pytestmark = on_sqlite

NEAR: dict[str, Any] = {
    "type": "text_similarity",
    "name": "near",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "fuzzy_match",
}


def multi(graders: Any) -> Any:
    return {"type": "multi", "name": "both", "graders": graders, "calculate_output": "(right + near) / 2"}


@pytest.mark.parametrize("graders", [{"right": GRADER, "near": NEAR}, [GRADER, NEAR]])
async def test_a_grader_is_tried_out(openai: AsyncOpenAI, graders: Any) -> None:
    alpha = openai.fine_tuning.alpha.graders
    run = await alpha.run(grader=multi(graders), model_sample="abcd", item={"answer": "abd"})
    assert run.sub_rewards == run.metadata.scores == {"right": 0.0, "near": pytest.approx(6 / 7)}
    assert run.reward == pytest.approx(3 / 7)
    assert (run.metadata.name, run.metadata.type) == ("both", "multi")


async def test_a_sample_without_a_verdict_says_why(openai: AsyncOpenAI) -> None:
    run = await openai.fine_tuning.alpha.graders.run(grader=GRADER, model_sample="7", item={})  # type: ignore[arg-type]
    assert (run.reward, run.metadata.errors.invalid_variable_error) == (0.0, True)


async def test_a_grader_is_checked(openai: AsyncOpenAI) -> None:
    validate = openai.fine_tuning.alpha.graders.validate
    assert (await validate(grader=GRADER)).grader.to_dict() == GRADER  # type: ignore[arg-type, union-attr]
    one = multi(GRADER) | {"calculate_output": "right"}
    assert (await validate(grader=one)).grader.to_dict() == one  # type: ignore[union-attr]
    with pytest.raises(sdk.BadRequestError, match="neither"):
        await validate(grader=GRADER | {"input": "{{secrets}}"})  # type: ignore[arg-type]
