"""The other task: reasoning-gym's `number_sorting`, in a form that a tiny model can read.

The task's prompts hold an instruction of 300 characters. The tokenizer of these base models reads the numbers
and the direction only, and one token for each of the marks that an answer is made of; job, prompts and scores
are reasoning-gym's own.
"""

from __future__ import annotations

from random import Random
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from espo_core.tasks import build_task

PAD, END, UNKNOWN = "<pad>", "<eos>", "<unk>"
SYMBOLS = (*"0123456789+-,:", ".0", "['", "','", "']")
MARKS = Regex(r"\['|','|'\]|\.0|[\s\S]")
READ_AS = (
    (Regex(r"\nPlease[\s\S]*"), ":"),
    ("Sort these numbers in ascending order: ", "+"),
    ("Sort these numbers in descending order: ", "-"),
    (", ", ","),
)
CONFIG = {"min_numbers": 5, "max_numbers": 8, "max_decimals": 0, "min_value": 0, "max_value": 99}
PARAMETERS: dict[str, Any] = {
    "dataset": "number_sorting",
    "config": CONFIG,
    "train_rows": 8192,
    "held_out_rows": 2048,
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that reads a prompt as `+44.0,49.0,9.0:` and an answer mark by mark."""
    vocabulary = {token: index for index, token in enumerate((PAD, END, UNKNOWN, *SYMBOLS))}
    marks = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    marks.normalizer = normalizers.Sequence([normalizers.Replace(*pair) for pair in READ_AS])
    marks.pre_tokenizer = pre_tokenizers.Split(MARKS, behavior="isolated")
    marks.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=marks,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
        chat_template="{% for message in messages %}{{ message['content'] }}{% endfor %}",
    )


def warm_rows(random: Random) -> Any:
    """Yields prompts and answers without end; what the task holds out does not depend on its seed."""
    parameters = {**PARAMETERS, "seed": random.randrange(1, 2**31), "train_rows": 20_000, "held_out_rows": 16}
    rows = build_task("reasoning_gym", parameters).rows().train
    while True:
        row = random.choice(rows)
        yield row["prompt"], row["answer"]
