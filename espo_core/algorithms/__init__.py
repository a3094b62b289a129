"""The algorithms by public name."""

from typing import Any

from espo_core.algorithms.aer import AER
from espo_core.algorithms.arm import ARM
from espo_core.algorithms.bapo import BAPO
from espo_core.algorithms.cispo import CISPO
from espo_core.algorithms.dapo import DAPO
from espo_core.algorithms.definition import Algorithm
from espo_core.algorithms.dr_grpo import DR_GRPO
from espo_core.algorithms.espo import ESPO
from espo_core.algorithms.etr import ETR
from espo_core.algorithms.gmpo import GMPO
from espo_core.algorithms.grpo import GRPO
from espo_core.algorithms.grpo_trajectory import GRPO_TRAJECTORY
from espo_core.algorithms.gspo import GSPO
from espo_core.algorithms.gspo_token import GSPO_TOKEN
from espo_core.algorithms.sapo import SAPO
from espo_core.algorithms.sspo import SSPO
from espo_core.errors import unknown_name

ALGORITHMS: dict[str, Algorithm[Any]] = {
    algorithm.name: algorithm
    for algorithm in (
        ESPO,
        GRPO,
        DR_GRPO,
        DAPO,
        GSPO,
        GSPO_TOKEN,
        GMPO,
        CISPO,
        SAPO,
        BAPO,
        SSPO,
        ETR,
        AER,
        ARM,
        GRPO_TRAJECTORY,
    )
}


def get_algorithm(name: str) -> Algorithm[Any]:
    """The algorithm of a public name.

    Raises:
        ConfigError: no algorithm has this name.
    """
    if name not in ALGORITHMS:
        raise unknown_name(kind="algorithm", name=name, valid=ALGORITHMS)
    return ALGORITHMS[name]
