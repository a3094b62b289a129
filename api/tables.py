"""Every table: importing this module is what makes the metadata complete."""

from __future__ import annotations

from api.audit.models import AuditEntry
from api.auth.models import ApiKey, Project
from api.checkpoints.models import Checkpoint
from api.db import Base
from api.events.models import JobEvent
from api.files.models import File
from api.jobs.models import Attempt, IdempotencyKey, Job
from api.metrics.models import MetricBlock
from api.openai_compat.models import FineTuningRequest
from api.store.models import Blob

metadata = Base.metadata

__all__ = [
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "Blob",
    "Checkpoint",
    "File",
    "FineTuningRequest",
    "IdempotencyKey",
    "Job",
    "JobEvent",
    "MetricBlock",
    "Project",
    "metadata",
]
