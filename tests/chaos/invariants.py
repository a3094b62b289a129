"""What must hold of every job whatever happened, asked of the public API and of the bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from safetensors.numpy import load_file

from espo_client.client import EspoClient
from espo_client.records import Event
from espo_contracts.job import JobStatus
from tests.chaos.clocks import unstepped
from tests.chaos.jobs import STEPS
from tests.chaos.observer import Stay
from tests.chaos.stack import CutOff
from tests.chaos.user import Submitted
from tests.e2e.service import without_machine

Harm = Literal["lost", "wrong state", "run twice", "gaps", "doubles", "weights", "checkpoints"]
RETURN_SECONDS = 20.0
"""A worker that can be heard again has learnt after so long that its attempt was given away."""
FIRST_WORD_SECONDS = 0.5
RUN_EVENTS = ("started", "metrics", "sample", "checkpoint", "finished", "failed")


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What was wrong with a job; nothing, if all held."""

    job: Submitted
    harms: list[tuple[Harm, str]] = field(default_factory=list)

    def add(self, harm: Harm, what: str) -> None:
        self.harms.append((harm, f"{self.job.id} (seed {self.job.plan.seed}): {what}"))


def judge(
    client: EspoClient,
    job: Submitted,
    *,
    reference: dict[str, Any],
    stays: Sequence[Stay],
    cut_offs: Sequence[CutOff],
) -> Verdict:
    """Every invariant of one job that should have come to its end."""
    verdict = Verdict(job=job)
    if job.ended is None or job.detail is None:
        verdict.add("lost", f"it is {job.detail and job.detail.status} for ever")
        return verdict
    events = list(client.past_events(job.id))
    _check_state(verdict)
    _check_metrics(verdict, events, client, reference)
    _check_order(verdict, events)
    _check_stays(verdict, events, stays, cut_offs)
    _check_checkpoints(verdict, client, reference)
    return verdict


def _check_state(verdict: Verdict) -> None:
    job = verdict.job
    status = job.detail.status if job.detail is not None else None
    right = {JobStatus.SUCCEEDED, JobStatus.CANCELLED} if job.is_cancelled else {JobStatus.SUCCEEDED}
    if status not in right:
        verdict.add("wrong state", f"{status}: {job.detail and job.detail.error}")


def _check_metrics(
    verdict: Verdict, events: Sequence[Event], client: EspoClient, reference: dict[str, Any]
) -> None:
    effective = [event for event in events if event.type == "metrics" and not event.is_superseded]
    counts = Counter(event.step for event in effective)
    doubles = sorted(step or 0 for step, count in counts.items() if count > 1)
    if doubles:
        verdict.add("doubles", f"steps {doubles} have two effective rows")
    last = STEPS if _has_succeeded(verdict) else max((step or 0 for step in counts), default=0)
    gaps = sorted(set(range(1, last + 1)) - set(counts))
    if gaps:
        verdict.add("gaps", f"no metrics of steps {gaps}")
    curve = client.metrics(verdict.job.id, names=["reward/mean"]).get("reward/mean")
    if (curve.steps if curve else []) != sorted(counts):
        verdict.add("gaps", f"the curve has steps {curve and curve.steps}, the log {sorted(counts)}")
    for event in effective:
        if without_machine(event.data["values"]) != reference["metrics"][str(event.step)]:
            verdict.add("weights", f"the figures of step {event.step} differ from an undisturbed run's")
            break


def _check_order(verdict: Verdict, events: Sequence[Event]) -> None:
    """Once an attempt has said a word, none of an older one is taken."""
    attempts = [event.attempt or 0 for event in events if event.type in RUN_EVENTS]
    if any(later < earlier for earlier, later in pairwise(attempts)):
        verdict.add("run twice", f"events of an older attempt were taken: {attempts}")


def _check_stays(
    verdict: Verdict, events: Sequence[Event], stays: Sequence[Stay], cut_offs: Sequence[CutOff]
) -> None:
    own = sorted((stay for stay in stays if stay.job == verdict.job.id), key=lambda stay: stay.began)
    ends = {event.attempt: event.time for event in events if event.type in ("finished", "failed")}
    for index, older in enumerate(own):
        for newer in own[index + 1 :]:
            if newer.began < older.ended and not _may_overlap(older, newer, ends, cut_offs):
                verdict.add("run twice", f"{older} while {newer}")


def _may_overlap(older: Stay, newer: Stay, ends: dict[int | None, float], cut_offs: Iterable[CutOff]) -> bool:
    """Whether the older attempt had ended and was only clearing up, or its worker could not be heard."""
    if older.attempt >= newer.attempt:
        return False
    ended = ends.get(older.attempt)
    # By the worker's clock, which may have stepped.
    if ended is not None and unstepped(ended, near=newer.began) <= newer.began + FIRST_WORD_SECONDS:
        return True
    return any(
        cut.worker == older.worker
        and cut.began < newer.began
        and older.ended < (cut.ended or newer.began) + RETURN_SECONDS
        for cut in cut_offs
    )


def _check_checkpoints(verdict: Verdict, client: EspoClient, reference: dict[str, Any]) -> None:
    """Each listed one is whole, and the last one's weights are those of an undisturbed run."""
    listed = client.checkpoints(verdict.job.id)
    with TemporaryDirectory() as folder:
        for checkpoint in listed:
            target = Path(folder) / str(checkpoint.step)
            try:
                client.download(verdict.job.id, target, step=checkpoint.step)
                for path in target.glob("*.safetensors"):
                    load_file(path)
            except Exception as error:  # noqa: BLE001 - whatever it is, this checkpoint is no good
                verdict.add("checkpoints", f"step {checkpoint.step}: {error!r}")
    if not _has_succeeded(verdict):
        return
    final = next((one for one in listed if one.step == STEPS), None)
    if final is None:
        verdict.add("checkpoints", f"no checkpoint of the last step among {[one.step for one in listed]}")
        return
    weights = {entry.name: entry.sha256 for entry in final.files}["model.safetensors"]
    if weights != reference["weights"]:
        verdict.add("weights", "the final weights differ from an undisturbed run's")


def _has_succeeded(verdict: Verdict) -> bool:
    return verdict.job.detail is not None and verdict.job.detail.status is JobStatus.SUCCEEDED
