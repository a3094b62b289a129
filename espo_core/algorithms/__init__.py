"""The algorithms by public name."""

from typing import Any

from espo_core.algorithms.definition import Algorithm
from espo_core.algorithms.espo import ESPO
from espo_core.algorithms.grpo import GRPO
from espo_core.algorithms.gspo import GSPO
from espo_core.errors import unknown_name

ALGORITHMS: dict[str, Algorithm[Any]] = {algorithm.name: algorithm for algorithm in (ESPO, GRPO, GSPO)}


def get_algorithm(name: str) -> Algorithm[Any]:
    """The algorithm of a public name.

    Raises:
        ConfigError: no algorithm has this name.
    """
    if name not in ALGORITHMS:
        raise unknown_name(kind="algorithm", name=name, valid=ALGORITHMS)
    return ALGORITHMS[name]
