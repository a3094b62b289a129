"""What a job will need, from the sizes of its model, its data and its steps."""

from __future__ import annotations

from api.catalogue.models import ModelFacts
from api.jobs.duration import duration
from api.jobs.memory import memory, peak, sizes
from api.jobs.schemas import Estimate
from api.jobs.workload import DataFacts, Workload, workload
from espo_contracts.job import JobSpec


def estimate(spec: JobSpec, facts: ModelFacts | None, data: DataFacts) -> Estimate:
    """Needs of a job; without facts of its model only the tokens."""
    load = workload(spec, facts, data)
    one = None if facts is None else sizes(spec, facts, load)
    known = {"rollout_tokens": _rollout_tokens(spec, load), "prompt_tokens": load.prompt}
    if one is None:
        return Estimate(**known)
    parts, times = memory(one), duration(one)
    return Estimate(
        **known,
        parameters=one.facts.parameters,
        trainable_parameters=one.trainable,
        memory_bytes=peak(one, parts),
        memory=parts,
        seconds=round(times.sampling + times.update + times.evaluation, 3),
        time=times,
    )


def _rollout_tokens(spec: JobSpec, load: Workload) -> int:
    return spec.schedule.steps * load.rounds * spec.rollout.prompts_per_step * load.group * load.response
