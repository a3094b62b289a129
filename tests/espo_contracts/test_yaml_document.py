from __future__ import annotations

from typing import Any

import pytest
import yaml

from espo_contracts.yaml_document import parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("1E6", 1e6),
        ("+1.5e+3", 1500.0),
        ("-.5e1", -5.0),
        ("1.0e-6", 1e-6),
        ("12", 12),
        ("1e", "1e"),
        ("e6", "e6"),
        ("'1e-6'", "1e-6"),
        ("2024-01-01", "2024-01-01"),
        ("true", True),
        ("", None),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: Any) -> None:
    found = parse_yaml(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"'a' stands twice(.|\n)*line 3"),
        ("a: {b: 1, b: 2}", "'b' stands twice"),
        ("a: &x 1\nb: *x", r"aliases(.|\n)*line 2"),
        ("a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: [", "line 1"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError, match=message):
        parse_yaml(text)
