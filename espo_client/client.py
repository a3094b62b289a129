"""The SDK: one method for each thing a user can ask of the service.

with EspoClient(base_url="http://127.0.0.1:8000", api_key="espo_…") as client:
    job = client.submit({"model": {"name": "tiny-base"}, …})
    for event in client.events(job.id):
        print(event.type, event.data)
    client.download(job.id, Path("model"))
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from espo_client import credentials, stream
from espo_client.download import OnBytes, download_folder
from espo_client.pages import pages
from espo_client.records import (
    ApiKey,
    Checkpoint,
    Curve,
    DataFile,
    Event,
    Job,
    JobDetail,
    LogLine,
    NewApiKey,
    Sample,
    Validation,
)
from espo_client.transport import Transport
from espo_client.upload import CountedFile
from espo_contracts.job import JobSpec

Spec = JobSpec | dict[str, Any]


def _ignore(_: int) -> None:
    """No progress wanted."""


def _document(spec: Spec) -> dict[str, Any]:
    """What was given and nothing more, so that the service's defaults count."""
    if isinstance(spec, JobSpec):
        return spec.model_dump(mode="json", exclude_unset=True)
    return spec


class EspoClient:
    """A connection to one service. Every method raises EspoApiError or EspoConnectionError when it fails."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._transport = Transport(base_url=base_url, api_key=api_key)

    @classmethod
    def from_environment(cls) -> Self:
        """A client with the credentials of the environment or of `$ESPO_HOME/credentials.json`.

        Raises:
            CredentialsError: there are none.
        """
        found = credentials.load()
        return cls(found.base_url, found.api_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    @property
    def base_url(self) -> str:
        return self._transport.base_url

    # Jobs

    def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> JobDetail:
        """The new job. Sent again when the answer is lost, safely: the key makes the service see it once."""
        return self._make("/v1/jobs", _document(spec), idempotency_key)

    def validate(self, spec: Spec) -> Validation:
        """The resolved job and an estimate of what it needs; nothing is stored."""
        response = self._transport.request(
            "POST", "/v1/jobs/validate", json=_document(spec), is_repeatable=True
        )
        return Validation.model_validate_json(response.content)

    def get(self, job_id: str) -> JobDetail:
        response = self._transport.request("GET", f"/v1/jobs/{job_id}")
        return JobDetail.model_validate_json(response.content)

    def jobs(self, *, limit: int | None = None, **filters: str) -> Iterator[Job]:
        """Jobs, newest first, at most `limit`; filters: status, tag, algorithm, model, text."""
        return pages(self._transport, "/v1/jobs", Job, limit=limit, parameters=dict(filters))

    def cancel(self, job_id: str) -> JobDetail:
        """The job, which ends within seconds; cancelling twice is the same as once."""
        return self._wish(job_id, "cancel")

    def pause(self, job_id: str) -> JobDetail:
        """The job, which saves its last step and then rests; pausing twice is the same as once."""
        return self._wish(job_id, "pause")

    def resume(self, job_id: str) -> JobDetail:
        """The job, which goes on exactly where it was paused; resuming twice is the same as once."""
        return self._wish(job_id, "resume")

    def retry(self, job_id: str) -> JobDetail:
        """The job, failed or cancelled, which goes on from its newest checkpoint with all its attempts."""
        return self._wish(job_id, "retry")

    def clone(
        self, job_id: str, changes: dict[str, Any] | None = None, *, idempotency_key: str | None = None
    ) -> JobDetail:
        """A new job of the same document with changes, a JSON merge patch such as `{"seed": 2}`."""
        return self._make(f"/v1/jobs/{job_id}/clone", changes or {}, idempotency_key)

    def _wish(self, job_id: str, wish: str) -> JobDetail:
        response = self._transport.request("POST", f"/v1/jobs/{job_id}/{wish}", is_repeatable=True)
        return JobDetail.model_validate_json(response.content)

    def _make(self, path: str, document: dict[str, Any], idempotency_key: str | None) -> JobDetail:
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        response = self._transport.request("POST", path, json=document, headers=headers, is_repeatable=True)
        return JobDetail.model_validate_json(response.content)

    # What a run reports

    def events(self, job_id: str, *, after: int = 0, types: list[str] | None = None) -> Iterator[Event]:
        """Every event after number `after`, live, until the job has ended; survives broken connections."""
        return stream.follow(self._transport, job_id, after=after, types=types or [])

    def past_events(
        self, job_id: str, *, after: int = 0, types: list[str] | None = None, limit: int | None = None
    ) -> Iterator[Event]:
        """Events so far, oldest first."""
        parameters = {"after": after, "types": types or []}
        path = f"/v1/jobs/{job_id}/events"
        return pages(self._transport, path, Event, limit=limit, parameters=parameters)

    def metrics(
        self,
        job_id: str,
        *,
        names: list[str] | None = None,
        since_step: int | None = None,
        max_points: int | None = None,
    ) -> dict[str, Curve]:
        """Curves by metric, after `since_step`, each thinned to `max_points`; None among the names: all."""
        asked = {"names": names or [], "since_step": since_step, "max_points": max_points}
        parameters = {name: value for name, value in asked.items() if value is not None}
        response = self._transport.request("GET", f"/v1/jobs/{job_id}/metrics", params=parameters)
        series = response.json()["series"]
        return {name: Curve.model_validate(curve) for name, curve in series.items()}

    def samples(self, job_id: str, *, step: int | None = None, limit: int | None = None) -> Iterator[Sample]:
        """Recorded responses."""
        parameters = {} if step is None else {"step": step}
        return pages(
            self._transport, f"/v1/jobs/{job_id}/samples", Sample, limit=limit, parameters=parameters
        )

    def logs(self, job_id: str, *, limit: int | None = None) -> Iterator[LogLine]:
        """The run's log lines, oldest first."""
        return pages(self._transport, f"/v1/jobs/{job_id}/logs", LogLine, limit=limit)

    # Checkpoints

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """Every downloadable checkpoint."""
        return list(pages(self._transport, f"/v1/jobs/{job_id}/checkpoints", Checkpoint))

    def checkpoint(self, job_id: str, step: int | str = "latest") -> Checkpoint:
        """One checkpoint: by its step, or `latest` or `best`."""
        response = self._transport.request("GET", f"/v1/jobs/{job_id}/checkpoints/{step}")
        return Checkpoint.model_validate_json(response.content)

    def download(
        self,
        job_id: str,
        target: Path,
        *,
        step: int | str = "latest",
        on_bytes: OnBytes = _ignore,
    ) -> Checkpoint:
        """The checkpoint whose files now lie in `target`, verified; goes on where it broke off.

        Raises:
            DownloadError: a file does not have the promised hash.
        """
        found = self.checkpoint(job_id, step)
        place = f"/v1/jobs/{job_id}/checkpoints/{found.step}/files"
        files = {f"{place}/{entry.name}": entry for entry in found.files}
        download_folder(self._transport, files, target, on_bytes)
        return found

    # Data files

    def upload(self, path: Path, *, on_bytes: OnBytes = _ignore) -> DataFile:
        """The stored JSONL file, streamed from disk."""
        with path.open("rb") as file:
            response = self._transport.request(
                "POST",
                "/v1/files",
                files={"file": (path.name, CountedFile(file, on_bytes), "application/jsonl")},
                data={"purpose": "fine-tune"},
            )
        return DataFile.model_validate_json(response.content)

    def files(self, *, limit: int | None = None) -> Iterator[DataFile]:
        """Uploaded files, newest first."""
        return pages(self._transport, "/v1/files", DataFile, limit=limit)

    def delete_file(self, file_id: str) -> None:
        self._transport.request("DELETE", f"/v1/files/{file_id}")

    # Keys

    def keys(self, *, limit: int | None = None) -> Iterator[ApiKey]:
        """Keys of the project, newest first. This and what follows wants the scope admin."""
        return pages(self._transport, "/v1/keys", ApiKey, limit=limit)

    def create_key(self, *, name: str, scopes: list[str], expires_at: float | None = None) -> NewApiKey:
        """A new key with its secret, which the service shows this once."""
        wanted = {"name": name, "scopes": scopes, "expires_at": expires_at}
        return self._new_key("/v1/keys", wanted)

    def rotate_key(self, key_id: str, *, overlap_seconds: int, expires_at: float | None = None) -> NewApiKey:
        """A key that replaces another one, which still works for so many seconds."""
        wanted = {"overlap_seconds": overlap_seconds, "expires_at": expires_at}
        return self._new_key(f"/v1/keys/{key_id}/rotate", wanted)

    def revoke_key(self, key_id: str) -> ApiKey:
        """The key, worthless from now on; revoking twice is the same as once."""
        response = self._transport.request("DELETE", f"/v1/keys/{key_id}")
        return ApiKey.model_validate_json(response.content)

    def _new_key(self, path: str, wanted: dict[str, Any]) -> NewApiKey:
        response = self._transport.request("POST", path, json=wanted)
        return NewApiKey.model_validate_json(response.content)

    # Catalogues

    def catalogue(self, noun: str) -> list[dict[str, Any]]:
        """Everything of one kind: `models`, `algorithms`, `verifiers` or `tasks`."""
        response = self._transport.request("GET", f"/v1/{noun}")
        return list(response.json()["data"])
