"""Jobs whose needs are estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espo_contracts.job import JobSpec
from espo_contracts.validation import parse_job_spec
from tests.api.rows import job_document

TINY_BASE = Path(__file__).resolve().parents[3] / "examples" / "tiny-base"


def job(**parts: dict[str, Any]) -> JobSpec:
    """A job with these parts; a part is merged into the document's."""
    document = job_document()
    return parse_job_spec(document | {name: document.get(name, {}) | part for name, part in parts.items()})
