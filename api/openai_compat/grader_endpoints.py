"""`/v1/fine_tuning/alpha/graders`: a grader checked, and tried on a sample, before it rewards a job."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter

from api.dependencies import Reader
from api.openai_compat.graders import sdk_form
from api.openai_compat.schemas import (
    GraderErrors,
    GraderMetadata,
    GraderRun,
    RunGrader,
    ValidatedGrader,
    ValidateGrader,
)
from espo_contracts.graders import grade

router = APIRouter(prefix="/v1/fine_tuning/alpha/graders", tags=["fine-tuning (OpenAI)"])


@router.post("/validate")
async def validate_grader(caller: Reader, body: ValidateGrader) -> ValidatedGrader:
    """Checks a grader as a job would."""
    return ValidatedGrader(grader=sdk_form(body.grader))


@router.post("/run")
async def run_grader(caller: Reader, body: RunGrader) -> GraderRun:
    """What a grader says of a sample: the very arithmetic that a job is rewarded by."""
    began = time.perf_counter()
    # In a thread: long texts take a second to compare.
    found = await asyncio.to_thread(grade, body.grader, body.model_sample, body.item)
    metadata = GraderMetadata(
        errors=GraderErrors(invalid_variable_error=found.reward is None),
        execution_time=time.perf_counter() - began,
        name=body.grader.name,
        scores=dict(found.scores),
        type=body.grader.type,
    )
    sub_rewards = dict(found.scores) if body.grader.type == "multi" else {}
    return GraderRun(reward=found.reward or 0.0, sub_rewards=sub_rewards, metadata=metadata)
