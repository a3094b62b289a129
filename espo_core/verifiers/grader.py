"""A grader as clients of OpenAI's fine-tuning write it; its arithmetic is in espo_contracts/graders."""

from __future__ import annotations

from dataclasses import dataclass

from espo_contracts.graders import Grader, grade, item_columns
from espo_core.verifiers.base import UNVERIFIED, Row, Verdict, VerifierConfig, VerifierEntry


class GraderConfig(VerifierConfig):
    """Parameters of `grader`."""

    grader: Grader
    """A string_check, a text_similarity, or a multi that combines them by a formula; it reads the completion
    as `{{sample.output_text}}` and the data row's columns as `{{item.column}}`."""

    @property
    def columns(self) -> frozenset[str]:
        """Columns that it reads."""
        return item_columns(self.grader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """Judges a completion by the grader; one whose row lacks a value is not verified."""

    config: GraderConfig

    def __call__(self, completion: str, row: Row) -> Verdict:
        reward = grade(self.config.grader, completion, row).reward
        return UNVERIFIED if reward is None else Verdict(score=reward, verified=True)


def build(config: GraderConfig) -> Graded:
    """Returns the verifier."""
    return Graded(config=config)


ENTRY = VerifierEntry(
    name="grader",
    summary="A string_check, text_similarity or multi grader as in OpenAI's fine-tuning.",
    config=GraderConfig,
    build=build,
)
