"""Prints the largest differences between our objectives and TRL's and verl's: `python -m bench.peers`."""

import argparse

import torch

from bench.peers.advantages import ADVANTAGE_CASES, AdvantageCase, random_rewards
from bench.peers.agreement import difference, worst
from bench.peers.cases import CASES, Case
from bench.peers.installed import PEERS, missing, version

SEEDS = range(5)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    if reason := missing():
        raise SystemExit(reason)
    print(", ".join(f"{peer} {version(peer)}" for peer in PEERS), f"- {len(SEEDS)} random batches each")
    print("| peer | ours | loss, float64 | gradient, float64 | gradient, float32 | note |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        print(_row(case))
    print("\n| peer | advantage | float64 | float32 | note |\n|---|---|---|---|---|")
    for advantage in ADVANTAGE_CASES:
        print(_advantage_row(advantage))


def _row(case: Case) -> str:
    double = worst(difference(case, seed=seed, dtype=torch.float64) for seed in SEEDS)
    single = worst(difference(case, seed=seed, dtype=torch.float32) for seed in SEEDS)
    figures = f"{double.loss:.0e} | {double.gradient:.0e} | {single.gradient:.0e}"
    return f"| {case.peer} | {case.algorithm} | {figures} | {case.note} |"


def _advantage_row(case: AdvantageCase) -> str:
    figures = " | ".join(
        f"{max(_advantage_difference(case, seed=seed, dtype=dtype) for seed in SEEDS):.0e}"
        for dtype in (torch.float64, torch.float32)
    )
    return f"| {case.peer} | {case.kind} | {figures} | {case.note} |"


def _advantage_difference(case: AdvantageCase, *, seed: int, dtype: torch.dtype) -> float:
    return case.difference(random_rewards(seed=seed, dtype=dtype, unverified=case.knows_unverified))


if __name__ == "__main__":
    main()
