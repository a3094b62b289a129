"""Problems of reasoning-gym: made and judged by its hundred datasets, which load much and may run long."""

from __future__ import annotations

import dataclasses
import importlib
import json
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, cast

from espo_core.sandboxed import harmless

Request = dict[str, Any]


class RefusedError(Exception):
    """A request names something that does not exist or must not be used; its text is for people."""


@lru_cache(maxsize=1)
def datasets() -> dict[str, tuple[Any, Any]]:
    """Returns reasoning-gym's classes of a dataset and of its config, by name; none evaluates text freely."""
    registry = importlib.import_module("reasoning_gym.factory").DATASETS
    harmless.install()
    return cast("dict[str, tuple[Any, Any]]", registry)


def config_of(name: str, values: dict[str, Any]) -> Any:
    """Returns a reasoning-gym dataset's config.

    Raises:
        RefusedError: An unknown name, or values that the dataset does not take.
    """
    valid = datasets()
    if name not in valid:
        near = get_close_matches(name, valid, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise RefusedError(f"reasoning-gym has no dataset {name!r}{guess}")
    kind = valid[name][1]
    # `spell_backward` reads the file that its config names: no path comes from a user.
    fields = {one.name for one in dataclasses.fields(kind) if not one.name.endswith(("_file", "_path"))}
    known = fields - {"seed", "size"}  # the task's own, and no second way to set them
    unknown = sorted(set(values) - known)
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise RefusedError(f"{name} has no parameter {unknown[0]!r} (valid: {listed})")
    return kind(**values)


@lru_cache(maxsize=4)
def dataset(source: str) -> Any:
    """Returns the dataset of a source: the JSON of its name, config, seed and size.

    Raises:
        RefusedError: As `config_of`, and where the dataset itself refuses its config.
    """
    wanted = json.loads(source)
    name, size = wanted["dataset"], min(int(wanted["size"]), 10_000_000)
    try:
        config = config_of(name, wanted["config"])
        config = dataclasses.replace(config, seed=int(wanted["seed"]), size=size)
        return datasets()[name][0](config=config)
    except (AssertionError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RefusedError(f"{name}: {error or type(error).__name__}"[:500]) from error


@lru_cache(maxsize=8_192)
def entry(source: str, index: int) -> dict[str, Any]:
    """Returns an entry, made anew unless it is remembered: its metadata would not survive JSON.

    Raises:
        RefusedError: As `dataset`, and where there is no such entry.
    """
    if not 0 <= index < json.loads(source)["size"]:
        raise RefusedError(f"there is no problem {index}")
    return cast("dict[str, Any]", dataset(source)[index])


def rows(request: Request) -> dict[str, Any]:
    """Returns `{"rows": [[index, question, answer], ...]}`, or `{"refused": why}`.

    An entry that cannot be made, as some datasets give up on unlucky draws, is left out.
    """
    made, reasons = [], []
    try:
        dataset(request["source"])
    except RefusedError as error:
        return {"refused": str(error)}
    for index in range(request["first"], request["first"] + request["count"]):
        try:
            problem = entry(request["source"], index)
        except Exception as error:  # noqa: BLE001  (a hundred generators raise what they like)
            reasons.append(f"{type(error).__name__}: {error}"[:500])
        else:
            made.append([index, str(problem["question"]), str(problem["answer"] or "")])
    return {"rows": made, "reasons": reasons[:1]}


def score(request: Request) -> float:
    """Returns the dataset's own score of the answer."""
    # A copy, so that no scorer that changes its entry changes the verdict on the next completion.
    problem = deepcopy(entry(request["source"], request["index"]))
    return float(dataset(request["source"]).score_answer(request["text"], problem))


HANDLERS = {"gym_rows": rows, "gym_score": score}
