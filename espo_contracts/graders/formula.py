"""Arithmetic over named scores, such as `0.8 * exact + 0.2 * max(short, 0.5)`; never run as Python.

expression = term { (+|-) term };  term = factor { (*|/) factor };  factor = -factor | atom [ ^ factor ];
atom = number | name | function(expression, …) | (expression)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NoReturn

Scores = Mapping[str, float]
Formula = Callable[[Scores], float]

MAX_CHARACTERS = 1000
_DEEPEST = 32
_TOKEN = re.compile(r"\s*(?:(\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})|([A-Za-z_][A-Za-z0-9_]*)|(\S))")

_ONE: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
_MANY: dict[str, Callable[..., float]] = {"min": min, "max": max}
_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


def parse_formula(text: str, names: frozenset[str]) -> Formula:
    """What computes the formula from a score for each of `names`.

    Raises:
        ValueError: it is no formula, or uses another name.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the formula is longer than {MAX_CHARACTERS} characters")
    return _Parser(text, names).whole()


def evaluate(formula: Formula, scores: Scores) -> float | None:
    """Its value, or None where that is no finite number."""
    try:
        value = float(formula(scores))
    except (ArithmeticError, ValueError):
        return None
    return value if math.isfinite(value) else None


class _Parser:
    """One pass over the tokens from left to right."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self._tokens = [match.group().strip() for match in _TOKEN.finditer(text)]
        self._names = names
        self._at = 0
        self._depth = 0

    def whole(self) -> Formula:
        formula = self._expression()
        if self._at < len(self._tokens):
            self._refuse()
        return formula

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        """The next token, passed, if it is one of these; else nothing."""
        token = self._next()
        if token not in wanted or not token:
            return ""
        self._at += 1
        return token

    def _refuse(self) -> NoReturn:
        found = repr(self._next()[:32]) if self._next() else "the end"
        raise ValueError(f"the formula cannot be read at {found}")

    def _expression(self) -> Formula:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("the formula is nested too deeply")
        formula = self._joined(self._term, "+", "-")
        self._depth -= 1
        return formula

    def _term(self) -> Formula:
        return self._joined(self._factor, "*", "/")

    def _joined(self, part: Callable[[], Formula], *operators: str) -> Formula:
        """Parts with operators between them, from left to right."""
        first = part()
        rest: list[tuple[Callable[[float, float], float], Formula]] = []
        while operator := self._take(*operators):
            rest.append((_OPERATIONS[operator], part()))

        def value(scores: Scores) -> float:
            result = first(scores)
            for operation, operand in rest:
                result = operation(result, operand(scores))
            return result

        return value

    def _factor(self) -> Formula:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("the formula is nested too deeply")
        formula = self._negated() if self._take("-") else self._power()
        self._depth -= 1
        return formula

    def _negated(self) -> Formula:
        inner = self._factor()
        return lambda scores: -inner(scores)

    def _power(self) -> Formula:
        base = self._atom()
        if not self._take("^"):
            return base
        exponent = self._factor()
        return lambda scores: math.pow(base(scores), exponent(scores))

    def _atom(self) -> Formula:
        token = self._next()
        if self._take("("):
            inner = self._expression()
            return inner if self._take(")") else self._refuse()
        if re.match(r"\.?\d", token):
            self._at += 1
            number = float(token)
            return lambda scores: number
        if re.match(r"[A-Za-z_]", token):
            self._at += 1
            return self._call(token) if self._take("(") else self._name(token)
        return self._refuse()

    def _name(self, name: str) -> Formula:
        if name not in self._names:
            known = ", ".join(sorted(self._names))
            raise ValueError(f"the formula names {name[:64]!r}, which is no grader; there are: {known}")
        return lambda scores: scores[name]

    def _call(self, name: str) -> Formula:
        arguments = [self._expression()]
        while self._take(","):
            arguments.append(self._expression())
        if not self._take(")"):
            self._refuse()
        if name in _ONE and len(arguments) == 1:
            function, (only,) = _ONE[name], arguments
            return lambda scores: function(only(scores))
        if name in _MANY and len(arguments) > 1:
            return lambda scores: _MANY[name](*(argument(scores) for argument in arguments))
        known = ", ".join(sorted(_ONE | _MANY))
        raise ValueError(f"no function {name[:64]!r} of {len(arguments)}; there are: {known}")
