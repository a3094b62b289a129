"""The documents: string_check, text_similarity, and multi, which combines them by a formula."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from espo_contracts.graders.formula import MAX_CHARACTERS, parse_formula
from espo_contracts.graders.template import check_template, columns_in
from espo_contracts.part import Part

GraderName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Template = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(check_template)]


class StringCheck(Part):
    """1 where the comparison holds, else 0."""

    type: Literal["string_check"]
    name: GraderName
    input: Template
    """Text with `{{sample.output_text}}` or `{{item.column}}` in it."""
    reference: Template
    """What it is compared with."""
    operation: Literal["eq", "ne", "like", "ilike"]
    """`eq`: the same text; `ne`: another; `like`: contains the reference; `ilike`: so in any case."""


class TextSimilarity(Part):
    """How alike two texts are, from 0 to 1."""

    type: Literal["text_similarity"]
    name: GraderName
    input: Template
    """Text with `{{sample.output_text}}` or `{{item.column}}` in it."""
    reference: Template
    """What it is compared with."""
    evaluation_metric: Literal[
        "fuzzy_match", "bleu", "gleu", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"
    ]
    """`fuzzy_match` compares characters, the others words."""


SimpleGrader = Annotated[StringCheck | TextSimilarity, Field(discriminator="type")]


class MultiGrader(Part):
    """Several graders and a formula over their scores, cut to [0, 1]."""

    type: Literal["multi"]
    name: GraderName
    graders: Annotated[dict[Variable, SimpleGrader], Field(min_length=1, max_length=16)]
    """By the name that the formula calls them."""
    calculate_output: Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS)]
    """Such as `0.8 * exact + 0.2 * short`: + - * / ^, min, max, abs, floor, ceil, exp, sqrt, log."""

    @model_validator(mode="after")
    def _formula_is_one(self) -> Self:
        parse_formula(self.calculate_output, frozenset(self.graders))
        return self


Grader = Annotated[StringCheck | TextSimilarity | MultiGrader, Field(discriminator="type")]


def item_columns(grader: StringCheck | TextSimilarity | MultiGrader) -> frozenset[str]:
    """Columns of the data row that a grader reads."""
    if isinstance(grader, MultiGrader):
        return frozenset[str]().union(*map(item_columns, grader.graders.values()))
    return columns_in(grader.input) | columns_in(grader.reference)
