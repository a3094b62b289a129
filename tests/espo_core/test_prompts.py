from __future__ import annotations

from typing import Any

import pytest

from espo_contracts.spec import DataSpec
from espo_core.errors import DataError
from espo_core.prompts import fill_template, render
from tests.espo_core.tiny import make_tokenizer

ROW = {"a": 1, "b": "2"}
CHAT_ROW = {"messages": [{"role": "user", "content": "1+1"}]}


def spec(**fields: Any) -> DataSpec:
    return DataSpec.model_validate({"task": {"name": "countdown"}, **fields})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{a}+{b}=", "1+2="),
        (r"\frac{1}{{a}} {} { a }", r"\frac{1}{a} {} { a }"),
        ("{{{a}}}", "{1}"),
        ("{a.__class__}", "{a.__class__}"),
    ],
)
def test_templates(template: str, text: str) -> None:
    assert fill_template(template, ROW, number=1) == text


@pytest.mark.parametrize("row", [{"a": 1}, {"a": 1, "b": None}])
def test_a_missing_column_names_row_and_columns(row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="row 7 has no column 'b'; its columns are a") as caught:
        fill_template("{b}", row, number=7)
    assert "data.prompt_template" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "row", "text"),
    [
        ({}, {"prompt": "1+1="}, "1+1="),
        ({}, CHAT_ROW, "1+1>"),
        ({"prompt_template": "{a}-"}, {**ROW, **CHAT_ROW}, "1-"),
        ({"chat": True}, {"prompt": "1+1="}, "1+1=>"),
        ({"system": "7:"}, {"prompt": "1+1="}, "7:>1+1=>"),
        ({"system": "7:"}, CHAT_ROW, "7:>1+1>"),
        ({"chat": True, "system": "7:", "prompt_template": "{b}"}, ROW, "7:>2>"),
    ],
)
def test_a_row_becomes_a_prompt(fields: dict[str, Any], row: dict[str, Any], text: str) -> None:
    tokenizer = make_tokenizer()
    (prompt,) = render(spec(**fields), [row], tokenizer)
    assert (prompt.text, prompt.row) == (text, row)
    assert tokenizer.decode(prompt.tokens) == text


def test_a_chat_without_a_template() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="no chat template") as caught:
        render(spec(chat=True), [{"prompt": "1"}], tokenizer)
    assert "data.chat" in caught.value.hint


def test_a_chat_template_that_refuses() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no system messages') }}"
    with pytest.raises(DataError, match="refuses a prompt: no system messages"):
        render(spec(chat=True), [{"prompt": "1"}], tokenizer)


def test_messages_of_a_job_that_wants_no_chat() -> None:
    with pytest.raises(DataError, match=r"data\.chat is false"):
        render(spec(chat=False), [CHAT_ROW], make_tokenizer())


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "1+1",
        [{"role": "user"}],
        [{"role": "robot", "content": "1"}],
        [{"role": "user", "content": ["1"]}],
        [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}],
    ],
)
def test_messages_that_are_none(messages: Any) -> None:
    with pytest.raises(DataError, match="row 3: `messages` must be a list"):
        render(spec(), [{"messages": messages}], make_tokenizer(), first=3)


def test_the_tokenizers_own_special_tokens_come_once() -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_bos_token = True
    (text,) = render(spec(), [{"prompt": "1"}], tokenizer)
    (chat,) = render(spec(chat=True), [{"prompt": "1"}], tokenizer)
    assert list(text.tokens) == tokenizer("1")["input_ids"]
    assert list(chat.tokens) == tokenizer("1>", add_special_tokens=False)["input_ids"]
