"""Mathematical equivalence, whose parser and simplifier can run for ever."""

from __future__ import annotations

from typing import Any

Request = dict[str, Any]


def math_equal(request: Request) -> bool | None:
    """Returns whether the text's answer equals the reference; None if the reference cannot be read."""
    from math_verify import parse, verify

    reference = str(request["reference"])
    gold = parse(reference, parsing_timeout=None) if "$" in reference or "\\boxed" in reference else []
    gold = gold or parse(f"${reference}$", parsing_timeout=None)
    if not gold:
        return None
    answer = parse(request["text"], parsing_timeout=None)
    return bool(answer) and bool(verify(gold, answer, timeout_seconds=None))


HANDLERS = {"math": math_equal}
