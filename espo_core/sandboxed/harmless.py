"""Stands in for what reasoning-gym's scorers evaluate answers with: Python's `eval` and sympy's `parse_expr`.

Both would run any Python that a model writes. Here an answer is arithmetic over literals, or an expression in
single letters and named functions; anything else raises, as an answer that cannot be read does.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from typing import Any

READ = (ast.Expression, ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context)
COLLECTED = (ast.List, ast.Tuple, ast.Set, ast.Dict)
PLAIN = {"sqrt", "cbrt", "exp", "log", "ln", "Abs", "pi"}
TRIGONOMETRIC = {"sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "acot"}
HYPERBOLIC = {"sinh", "cosh", "tanh", "asinh", "acosh", "atanh"}
FUNCTIONS = frozenset(PLAIN | TRIGONOMETRIC | HYPERBOLIC)
EXPRESSION = re.compile(r"[\w\s+\-*/^().,!]*", re.ASCII)
NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
ATTRIBUTE = re.compile(r"\.\s*[A-Za-z_]")


def evaluated(text: str, *_scope: Any) -> Any:
    """Returns the value of arithmetic over literals, lists of them among others.

    Raises:
        ValueError: The text is anything else.
        SyntaxError: It is no Python.
    """
    tree = ast.parse(text.strip(), mode="eval")
    for node in ast.walk(tree):
        if not isinstance(node, READ + COLLECTED):
            raise ValueError(f"{type(node).__name__} is not evaluated")
    return eval(compile(tree, "<answer>", "eval"), {"__builtins__": {}})  # noqa: S307  (nothing but literals is left)


def checked(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Returns sympy's parser for expressions in single letters, named functions and the names it is given."""

    def parse_expr(text: str, local_dict: dict[str, Any] | None = None, **options: Any) -> Any:
        known = FUNCTIONS.union(local_dict or ())
        unknown = [name for name in NAME.findall(text) if len(name) > 1 and name not in known]
        if unknown or not EXPRESSION.fullmatch(text) or ATTRIBUTE.search(text):
            raise ValueError(f"not an expression: {text[:100]!r}")
        return parse(text, local_dict=local_dict, **options)

    return parse_expr


def install() -> None:
    """Puts both in place in the modules of reasoning-gym, and in sympy as they name it."""
    import sympy
    from sympy.parsing import sympy_parser

    safe = checked(sympy_parser.parse_expr)
    for name, module in list(sys.modules.items()):
        if name.startswith("reasoning_gym."):
            vars(module)["eval"] = evaluated
            if vars(module).get("parse_expr") is sympy_parser.parse_expr:
                vars(module)["parse_expr"] = safe
    sympy.parse_expr = safe
