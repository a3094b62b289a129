"""The campaign: which runs, in which order. `docs/evidence/plan.md` says the same in words.

A stage sees the lines of the stages before it and plans its runs; it plans none while what it depends on is
missing. Blocks hold whole pairs, so that a campaign that is cut short compares equal with equal.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from bench.evidence.lines import Line
from bench.evidence.methods import (
    CONFIRMED,
    LEAD,
    OTHER_RATES,
    PUBLISHED,
    STRESSED,
    WIDTHS,
    ablations,
    tuned_methods,
)
from bench.evidence.scale import Scale
from bench.evidence.trial import Method, Pair, Trial
from bench.evidence.tuning import best

LOG_VOCABULARY = math.log(22)
REUSE = {8: (8, 1), 16: (8, 2), 32: (8, 4)}
"""Updates per rollout batch: mini-batches × passes."""
STRESS_RATES = {8: (1e-4, 2e-4, 4e-4), 16: (5e-5, 1e-4, 2e-4, 4e-4), 32: (2.5e-5, 5e-5, 1e-4)}


class Planned(NamedTuple):
    """A run and its place in the tables."""

    stage: str
    row: str
    trial: Trial


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The runs of a campaign, as far as the lines so far decide them."""

    scale: Scale
    lines: Mapping[str, Line]

    def blocks(self) -> list[list[Planned]]:
        """All runs, the most important first."""
        scale = self.scale
        half, few, some = scale.final_pairs // 2, scale.ablation_pairs // 2, scale.other_pairs // 2
        return [
            self.widths(),
            self.rates() + self.dynamic(),
            self.final(scale.final()[:half]),
            self.ablation(scale.ablation()[:few]),
            self.stress_tuning(16),
            self.stress(16, scale.stress()[:3]),
            self.lead("four numbers", scale.four_numbers()[:some])
            + self.lead("sorting", scale.sorting_pairs()[:some]),
            self.final(scale.final()[half:]),
            self.ablation(scale.ablation()[few:]),
            self.lead("four numbers", scale.four_numbers()[some:])
            + self.lead("sorting", scale.sorting_pairs()[some:]),
            self.stress_tuning(8),
            self.stress(8, scale.stress()[:3]),
            self.lead("confirm", scale.confirm(), CONFIRMED),
            self.stress_tuning(32),
            self.stress(32, scale.stress()[:3]),
            self.long(),
            self.stress(8, scale.stress()[3:]) + self.stress(16, scale.stress()[3:]),
        ]

    def widths(self) -> list[Planned]:
        """Each algorithm's widths at one learning rate."""
        methods = {
            name: [Method(algorithm=name, parameters=one) for one in widths[: self.scale.widths]]
            for name, widths in WIDTHS.items()
        }
        return [
            Planned("tuning", name, self._tuning(method, pair))
            for pair in self.scale.tuning()
            for name, settings in methods.items()
            for method in settings
        ]

    def rates(self) -> list[Planned]:
        """Each algorithm's best width at other learning rates."""
        return [
            Planned("tuning", name, self._tuning(replace(width, learning_rate=rate), pair))
            for name in WIDTHS
            if (width := best(self._tuned(self.widths(), name), self.lines)) is not None
            for pair in self.scale.tuning()
            for rate in OTHER_RATES[: self.scale.rates]
        ]

    @cached_property
    def tuned(self) -> dict[str, Method] | None:
        """The best settings of each algorithm; None before the tuning has ended."""
        tuning = self.widths() + self.rates()
        chosen = {name: best(self._tuned(tuning, name), self.lines) for name in WIDTHS}
        settings = self.scale.widths + self.scale.rates
        if len(tuning) < settings * len(WIDTHS) * len(self.scale.tuning()):
            return None
        known = {name: method for name, method in chosen.items() if method is not None}
        return known if len(known) == len(WIDTHS) else None

    def dynamic(self) -> list[Planned]:
        """How many rollouts dynamic sampling takes."""
        method = Method(algorithm="dapo", is_dynamic=True)
        return [
            Planned("tuning dynamic", "dapo dynamic", self._tuning(method, pair))
            for pair in self.scale.tuning()
        ]

    def final(self, pairs: Sequence[Pair]) -> list[Planned]:
        """The final table."""
        tuned = self.tuned
        if tuned is None:
            return []
        rows = {name: self._trial(method, pairs[0]) for name, method in tuned_methods(tuned).items()}
        if (steps := self._dynamic_steps()) is not None:
            dynamic = replace(tuned["dapo"], is_dynamic=True)
            rows["dapo dynamic"] = replace(self._trial(dynamic, pairs[0]), steps=steps)
        return _crossed("final", rows, pairs)

    def ablation(self, pairs: Sequence[Pair]) -> list[Planned]:
        """Variants of tuned ESPO."""
        tuned = self.tuned
        if tuned is None:
            return []
        methods = {"espo tuned": tuned["espo"]} | ablations(
            tuned["espo"], entropy_share=self._entropy_share(tuned["espo"])
        )
        return _crossed(
            "ablation", {name: self._trial(one, pairs[0]) for name, one in methods.items()}, pairs
        )

    def lead(self, stage: str, pairs: Sequence[Pair], rows: Sequence[str] = LEAD) -> list[Planned]:
        """The baseline beside its rivals, on other tasks or on fresh seeds."""
        tuned = self.tuned
        if tuned is None or not pairs:
            return []
        methods = tuned_methods(tuned)
        return _crossed(stage, {name: self._trial(methods[name], pairs[0]) for name in rows}, pairs)

    def long(self) -> list[Planned]:
        """The rows that matter most, three times as long."""
        tuned = self.tuned
        if tuned is None:
            return []
        methods, pairs = tuned_methods(tuned), self.scale.long()
        rows = {
            name: replace(self._trial(methods[name], pairs[0]), steps=self.scale.long_steps)
            for name in (*LEAD, *PUBLISHED)
        }
        return _crossed("long", rows, pairs)

    def stress_tuning(self, updates: int) -> list[Planned]:
        """Learning rates at many updates per rollout batch, at each algorithm's tuned width."""
        tuned = self.tuned
        if tuned is None:
            return []
        return [
            Planned(
                f"stress tuning {updates}",
                name,
                self._stressed(replace(tuned[name], learning_rate=rate), pair, updates),
            )
            for pair in self.scale.stress_tuning()
            for name in STRESSED
            for rate in STRESS_RATES[updates][: self.scale.stress_rates]
        ]

    def stress(self, updates: int, pairs: Sequence[Pair]) -> list[Planned]:
        """Many updates per rollout batch, each algorithm at its best learning rate there."""
        tuning = self.stress_tuning(updates)
        if not tuning or not pairs:
            return []
        chosen = {name: best(self._tuned(tuning, name), self.lines) for name in STRESSED}
        rows = {
            name: self._stressed(method, pairs[0], updates)
            for name, method in chosen.items()
            if method is not None
        }
        return _crossed(f"stress {updates}", rows, pairs)

    def _trial(self, method: Method, pair: Pair) -> Trial:
        return Trial(method=method, pair=pair, steps=self.scale.steps, max_prompts=self.scale.held_out)

    def _tuning(self, method: Method, pair: Pair) -> Trial:
        return replace(self._trial(method, pair), max_prompts=self.scale.tuning_held_out)

    def _stressed(self, method: Method, pair: Pair, updates: int) -> Trial:
        mini_batches, epochs = REUSE[updates]
        return replace(
            self._trial(method, pair),
            mini_batches=mini_batches,
            epochs=epochs,
        )

    def _tuned(self, planned: Iterable[Planned], row: str) -> list[Trial]:
        return [one.trial for one in planned if one.row == row]

    def _entropy_share(self, espo: Method) -> float:
        """Mean of entropy / log V over the tokens of tuned ESPO's runs in the tuning."""
        curves = [
            self.lines[key]["curves"]["entropy"]
            for pair in self.scale.tuning()
            if (key := self._tuning(espo, pair).key) in self.lines
        ]
        return statistics.fmean(value for curve in curves for value in curve) / LOG_VOCABULARY

    def _dynamic_steps(self) -> int | None:
        """Steps of dynamic sampling within the rollouts that the others have."""
        trials = [one.trial for one in self.dynamic()]
        if any(trial.key not in self.lines for trial in trials):
            return None
        used = statistics.fmean(self.lines[trial.key]["rollouts"] for trial in trials)
        return max(1, int(self.scale.steps * trials[0].rollouts / used))


def _crossed(stage: str, rows: Mapping[str, Trial], pairs: Sequence[Pair]) -> list[Planned]:
    """Every row with every pair, a whole pair at a time."""
    return [Planned(stage, name, replace(trial, pair=pair)) for pair in pairs for name, trial in rows.items()]
