"""Graders in every form that clients send, in the one form that is stored and run."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from espo_contracts.graders import Grader, MultiGrader, StringCheck, TextSimilarity

AnyGrader = StringCheck | TextSimilarity | MultiGrader

_REFUSED = {
    "python": "a python grader is a program, and this server runs none; use a verifier of GET /v1/verifiers",
    "score_model": "a score_model grader asks another model, and this server is connected to none",
    "label_model": "a label_model grader asks another model, and this server is connected to none",
}
_METRICS = {
    "cosine": "cosine compares embeddings, and this server has no model for them",
    "meteor": "meteor needs a dictionary of synonyms, which this server does not have",
}


def _in_one_form(document: Any) -> Any:
    """The document with the graders of a `multi` by their names.

    The SDK types them as one grader, the guides show a map, and some send a list.
    """
    if not isinstance(document, dict):
        return document
    _refuse(document)
    if document.get("type") != "multi":
        return document
    graders = _by_name(document.get("graders"))
    for grader in graders.values() if isinstance(graders, dict) else ():
        _refuse(grader)
    return {**document, "graders": graders}


def _refuse(grader: Any) -> None:
    """Raises ValueError for what exists, but not here."""
    kind = grader.get("type") if isinstance(grader, dict) else None
    if isinstance(kind, str) and kind in _REFUSED:
        raise ValueError(_REFUSED[kind])
    metric = grader.get("evaluation_metric") if isinstance(grader, dict) else None
    if isinstance(metric, str) and metric in _METRICS:
        raise ValueError(f"{_METRICS[metric]}; use fuzzy_match, bleu, gleu, rouge_1 to rouge_5 or rouge_l")


def _by_name(graders: Any) -> Any:
    if isinstance(graders, dict) and isinstance(graders.get("type"), str):
        graders = [graders]
    if not isinstance(graders, list):
        return graders
    named = {grader.get("name"): grader for grader in graders if isinstance(grader, dict)}
    if len(named) < len(graders):
        raise ValueError("each of several graders needs a name of its own")
    return named


GraderBody = Annotated[Grader, BeforeValidator(_in_one_form)]
"""A grader of a request. `graders` of a `multi` may also be one grader, or a list."""


def sdk_form(grader: AnyGrader) -> dict[str, Any] | None:
    """The grader as the SDK's types have it; None for a `multi` of several, which they have no place for."""
    document = grader.model_dump(mode="json")
    if isinstance(grader, MultiGrader):
        if len(grader.graders) > 1:
            return None
        (document["graders"],) = document["graders"].values()
    return document
