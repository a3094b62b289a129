"""Graders as OpenAI's fine-tuning has them: what the trainer rewards by and the API tries out."""

from espo_contracts.graders.grade import Grade, grade
from espo_contracts.graders.schema import Grader, MultiGrader, StringCheck, TextSimilarity, item_columns

__all__ = ["Grade", "Grader", "MultiGrader", "StringCheck", "TextSimilarity", "grade", "item_columns"]
