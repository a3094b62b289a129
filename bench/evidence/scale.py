"""How large a campaign is: sample sizes, fixed before it runs."""

from __future__ import annotations

from dataclasses import dataclass

from bench.evidence.bases import COMMITTED_BASE, Base, countdown_bases, sorting_bases, tuning_bases
from bench.evidence.trial import Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sample sizes. Seeds of different purposes never meet."""

    tuning_bases: tuple[Base, ...] = tuning_bases()
    bases: tuple[Base, ...] = countdown_bases()
    sorters: tuple[Base, ...] = sorting_bases()
    """Base models of the other task."""
    widths: int = 3
    rates: int = 2
    """Settings of each algorithm that the tuning tries: widths, then further learning rates."""
    steps: int = 40
    long_steps: int = 120
    tuning_held_out: int = 1024
    held_out: int = 4096
    tuning_pairs: int = 2
    final_pairs: int = 12
    ablation_pairs: int = 6
    stress_rates: int = 4
    stress_tuning_pairs: int = 1
    stress_pairs: int = 6
    long_pairs: int = 6
    confirm_pairs: int = 12
    """On each of the three tasks."""
    other_pairs: int = 10
    """Pairs on four numbers, and as many on the other task."""

    def tuning(self) -> list[Pair]:
        return _pairs("countdown3", self.tuning_bases, first_seed=100, count=self.tuning_pairs)

    def final(self) -> list[Pair]:
        return _pairs("three numbers", self.bases, first_seed=1000, count=self.final_pairs)

    def ablation(self) -> list[Pair]:
        """The first pairs of the final table, whose runs of tuned ESPO serve here too."""
        return self.final()[: self.ablation_pairs]

    def stress_tuning(self) -> list[Pair]:
        return _pairs("three numbers", self.bases[-1:], first_seed=200, count=self.stress_tuning_pairs)

    def stress(self) -> list[Pair]:
        return _pairs("three numbers", self.bases, first_seed=2000, count=self.stress_pairs)

    def confirm(self) -> list[Pair]:
        """Fresh pairs of the three tasks in turn."""
        tasks = (("three numbers", self.bases), ("four numbers", self.bases), ("sorting", self.sorters))
        parts = [
            _pairs(task, bases, first_seed=6000 + 1000 * place, count=self.confirm_pairs)
            for place, (task, bases) in enumerate(tasks)
        ]
        return [pair for in_turn in zip(*parts, strict=True) for pair in in_turn]

    def long(self) -> list[Pair]:
        return _pairs("three numbers", self.bases, first_seed=3000, count=self.long_pairs)

    def four_numbers(self) -> list[Pair]:
        return _pairs("four numbers", self.bases, first_seed=4000, count=self.other_pairs)

    def sorting_pairs(self) -> list[Pair]:
        return _pairs("sorting", self.sorters, first_seed=5000, count=self.other_pairs)

    def base(self, name: str) -> Base:
        """The base model of a name."""
        return next(base for base in (*self.tuning_bases, *self.bases, *self.sorters) if base.name == name)


def _pairs(task: str, bases: tuple[Base, ...], *, first_seed: int, count: int) -> list[Pair]:
    """Pairs that go round the base models."""
    return [
        Pair(task=task, base=bases[index % len(bases)].name, seed=first_seed + index)
        for index in range(count)
    ]


FULL = Scale()
REDUCED = Scale(
    tuning_bases=(COMMITTED_BASE,),
    bases=(COMMITTED_BASE,),
    sorters=(COMMITTED_BASE,),
    widths=1,
    rates=1,
    stress_rates=1,
    steps=2,
    long_steps=3,
    tuning_held_out=32,
    held_out=32,
    tuning_pairs=1,
    final_pairs=2,
    ablation_pairs=2,
    stress_pairs=1,
    long_pairs=1,
    confirm_pairs=1,
    other_pairs=1,
)
"""A minute's campaign with the committed model, for tests: every stage, no power."""
