"""JSON against a schema: where it is read, what is refused, and that nothing is fetched."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest

from espo_contracts.spec import RewardPart
from espo_core.errors import ConfigError
from espo_core.verifiers import build_verifier, reference_columns

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


def score(completion: str, schema: Any = SCHEMA, **parameters: Any) -> float | None:
    """The score, or None where the verifier came to no verdict."""
    judge = build_verifier("json_schema", {"schema_document": schema, **parameters})
    verdict = judge(completion, {})
    return verdict.score if verdict.verified else None


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ('{"name": "Ada"}', 1),
        (' {"name": "Ada", "age": 36}\n', 1),
        ('{"name": "Ada", "age": -1}', 0),
        ('{"name": "Ada", "age": NaN}', 0),
        ('{"age": 36}', 0),
        ('{"name": "Ada"', 0),
        ("[]", 0),
        ("", 0),
        ("no JSON", 0),
        ('Here: ```json\n{"name": "Ada"}\n``` as asked', 1),
        ('```\n{"name": "Ada"}\n```', 1),
        ('```json\n{"age": 1}\n``` better: ```json\n{"name": "Ada"}\n```', 1),
        ('```json\n{"name": "Ada"}\n``` worse: ```json\n{"age": 1}\n```', 0),
        ('```json\n{"name": "Ada"}\n``` and ```python\nprint(1)\n```', 1),
        ('so {"age": 1}, or rather {"name": "Ada"}.', 1),
        ('so {"name": "Ada"} {unfinished', 1),
        ('{{"name": "Ada"}}', 1),  # the object inside is the JSON there is
        ('{"wrapped": {"name": "Ada"}} end', 0),
    ],
)
def test_the_last_json_is_judged(completion: str, expected: float) -> None:
    assert score(completion) == expected


def test_the_whole_can_be_asked_for() -> None:
    assert score('{"name": "Ada"}', read="whole") == 1
    assert score('It is {"name": "Ada"}', read="whole") == 0


def test_a_row_can_bring_the_schema() -> None:
    judge = build_verifier("json_schema", {"schema_column": "schema"})
    assert judge("3", {"schema": {"type": "integer"}}).score == 1
    assert judge("3", {"schema": json.dumps({"type": "string"})}).score == 0
    for unusable in (None, 3, "{", "[]", {"type": 5}, {"type": object()}, {"a": "x" * 100_001}):
        assert not judge("3", {"schema": unusable}).verified
    assert not judge("3", {}).verified


def test_the_column_is_known_before_the_run() -> None:
    of_row = RewardPart(verifier="json_schema", parameters={"schema_column": "schema"})
    of_job = RewardPart(verifier="json_schema", parameters={"schema_document": {}})
    assert reference_columns([of_row]) == {"schema"}
    assert reference_columns([of_job]) == frozenset()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "exactly one of schema_document and schema_column"),
        ({"schema_document": {}, "schema_column": "schema"}, "exactly one of"),
        ({"schema_document": {"type": "text"}}, "is no schema"),
        ({"schema_document": {"enum": ["x" * 100_001]}}, "longer than"),
    ],
)
def test_what_cannot_work_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_verifier("json_schema", parameters)


def test_references_inside_the_schema_work_and_one_without_end_is_not_verified() -> None:
    tree = {"$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "$ref": "#/$defs/tree"}
    assert score("[[], [[]]]", tree) == 1
    assert score("[[], [3]]", tree) == 0
    assert score("1", {"$ref": "#"}) is None


def test_a_pattern_that_backtracks_for_ever_is_not_verified() -> None:
    assert score(json.dumps("a" * 60 + "!"), {"pattern": "^(a|aa)+$"}, timeout_seconds=0.1) is None


def test_a_deep_document_is_not_an_error() -> None:
    assert score("[" * 100_000 + "]" * 100_000, {"type": "array"}) in (0, None)


def test_a_reference_to_another_document_is_not_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = threading.Event()
        server.settimeout(1.0)

        def listen() -> None:
            try:
                server.accept()[0].close()
            except TimeoutError:
                return
            asked.set()

        listener = threading.Thread(target=listen)
        listener.start()
        assert score("1", {"$ref": f"http://127.0.0.1:{server.getsockname()[1]}/schema"}) is None
        listener.join()
    assert not asked.is_set()
