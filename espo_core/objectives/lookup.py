"""Objectives by public name."""

# The module and not its names: algorithm files import their parts from this package, so at import time
# ALGORITHMS may not exist yet.
import espo_core.algorithms
from espo_core.objectives.objective import Objective


def get_objective(name: str, **parameters: object) -> Objective:
    """The objective of an algorithm, its other parameters at their defaults.

    Raises:
        ConfigError: an unknown name or parameter (the valid ones are listed), or a value out of bounds.
    """
    algorithm = espo_core.algorithms.get_algorithm(name)
    return algorithm.build(algorithm.configure(parameters))
