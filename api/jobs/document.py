"""The body of a submission: one document in JSON or YAML, as plain JSON values."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

import yaml
from fastapi import Depends, Header, Request

from api.errors import Code, DomainError, invalid
from espo_contracts.yaml_document import parse_yaml

_JSON = {"application/json", ""}
_YAML = {"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"}
MEDIA_TYPES = ("application/json", "application/yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A document, and what makes it the same submission as another."""

    document: Any
    body_sha256: str
    idempotency_key: str | None


IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Sent again within 24 hours with the same body, it gives the first answer again.",
    ),
]


async def read_submission(request: Request, idempotency_key: IdempotencyKey = None) -> Submission:
    """The request's document.

    Raises:
        DomainError: another media type, or not a document of its type.
    """
    body = await request.body()
    document = parse_document(body, request.headers.get("content-type", ""))
    digest = hashlib.sha256(body).hexdigest()
    return Submission(document=document, body_sha256=digest, idempotency_key=idempotency_key)


async def read_changes(request: Request, job_id: str, idempotency_key: IdempotencyKey = None) -> Submission:
    """What is to be different in a copy of a job; nothing where there is no body.

    Raises:
        DomainError: another media type, or not an object.
    """
    body = await request.body()
    media_type = request.headers.get("content-type", "").replace("merge-patch+json", "json")
    changes = parse_document(body, media_type) if body else {}
    if not isinstance(changes, dict):
        raise invalid("body", 'the changes must be an object, such as {"seed": 2}')
    # The same changes of another job are another submission.
    digest = hashlib.sha256(job_id.encode() + b"\n" + body).hexdigest()
    return Submission(document=changes, body_sha256=digest, idempotency_key=idempotency_key)


Submitted = Annotated[Submission, Depends(read_submission)]
Changes = Annotated[Submission, Depends(read_changes)]


def parse_document(body: bytes, content_type: str) -> Any:
    """The document as JSON values: finite numbers, string keys."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in _JSON | _YAML:
        raise DomainError(Code.UNSUPPORTED_MEDIA_TYPE, f"send the job as {' or '.join(MEDIA_TYPES)}")
    try:
        document = parse_yaml(body.decode()) if media_type in _YAML else json.loads(body)
        # Once through JSON: refuses NaN and infinities, dates and bytes, and makes every key a string.
        return json.loads(json.dumps(document, allow_nan=False))
    except yaml.YAMLError as error:
        _refuse("YAML", " ".join(str(error).split())[:500])
    except UnicodeDecodeError:
        _refuse("text", "it is not UTF-8")
    except RecursionError:
        _refuse("document", "it is nested too deeply")
    except (ValueError, TypeError) as error:
        _refuse("YAML" if media_type in _YAML else "JSON", str(error)[:500])


def _refuse(what: str, reason: str) -> NoReturn:
    raise DomainError(Code.INVALID_REQUEST, f"the body is no valid {what}: {reason}") from None
