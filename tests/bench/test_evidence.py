"""The evidence campaign: its statistics, its plan on made-up results, and some of it for real."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bench.evidence.campaign import Campaign
from bench.evidence.lines import append, read
from bench.evidence.outcome import against, held_out, rollouts_to
from bench.evidence.plan import Plan, Planned
from bench.evidence.report import write_report
from bench.evidence.scale import FULL, REDUCED, Scale
from bench.evidence.statistics import critical, holm, paired, two_sided_p
from bench.evidence.trial import Method, Pair, Trial
from bench.evidence.tuning import best
from espo_core.objectives import get_objective

ROOT = Path(__file__).parents[2]


def made_up(trial: Trial, *, accuracy: float | None = None) -> dict[str, Any]:
    """A line as a run leaves it, whose figures depend on the key only."""
    random = Random(trial.key)
    reward = [0.3 + 0.004 * step + random.uniform(-0.02, 0.02) for step in range(trial.steps)]
    curve = [random.uniform(0.01, 0.2) for _ in range(-(-trial.steps // 5))]
    return {
        "key": trial.key,
        "method": asdict(trial.method),
        "pair": asdict(trial.pair),
        "error": None,
        "seconds": 1.0,
        "reward": reward,
        "rollouts": trial.rollouts * (2 if trial.method.is_dynamic else 1),
        "held_out": 0.5 + random.uniform(-0.05, 0.05) if accuracy is None else accuracy,
        "curves": dict.fromkeys(("clip", "utilisation", "entropy"), curve),
    }


@cache
def completed(scale: Scale) -> dict[str, dict[str, Any]]:
    """Made-up lines of a whole campaign, block after block as a campaign makes them."""
    lines: dict[str, dict[str, Any]] = {}
    for index in range(len(Plan(scale=scale, lines={}).blocks())):
        block = Plan(scale=scale, lines=lines).blocks()[index]
        assert block, f"block {index} plans nothing although all before it is done"
        lines |= {one.trial.key: made_up(one.trial) for one in block}
    return lines


def planned(scale: Scale) -> list[Planned]:
    return [one for block in Plan(scale=scale, lines=completed(scale)).blocks() for one in block]


def test_quantiles_of_student() -> None:
    for freedom, t in ((1, 12.7062), (2, 4.30265), (5, 2.57058), (11, 2.20099), (30, 2.04227)):
        assert critical(freedom) == pytest.approx(t, rel=1e-5)
        assert two_sided_p(t, freedom=freedom) == pytest.approx(0.05, rel=1e-4)


def test_a_paired_interval_by_hand() -> None:
    one = paired([0.01, 0.03, 0.02, 0.04])
    # mean 0.025, standard deviation 0.0129099, error 0.0064550, t 3.87298, critical value 3.18245
    assert one.mean == pytest.approx(0.025)
    assert one.half_width == pytest.approx(3.18245 * 0.00645497, rel=1e-5)
    assert one.p == pytest.approx(0.030466, rel=1e-3)
    assert math.isinf(paired([0.2]).half_width)


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5}) == pytest.approx(
        {"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.5}
    )


def test_every_run_of_the_plan_is_once_and_no_seed_serves_two_purposes() -> None:
    everything = planned(FULL)
    tuning = {one.trial.pair.seed for one in everything if "tuning" in one.stage}
    assert not tuning & {one.trial.pair.seed for one in everything if "tuning" not in one.stage}
    for stage in {one.stage for one in everything}:
        rows: dict[str, set[Pair]] = {}
        for one in everything:
            if one.stage == stage and "tuning" not in stage:
                rows.setdefault(one.row, set()).add(one.trial.pair)
        assert len({frozenset(pairs) for pairs in rows.values()}) <= 1, f"{stage} is not paired"
    final = {one.trial.pair for one in everything if one.stage == "final"}
    assert len(final) >= 10
    assert len({pair.base for pair in final}) == 6


def test_the_same_budget_tunes_every_algorithm() -> None:
    runs = [one.row for one in planned(FULL) if one.stage == "tuning"]
    assert {row: runs.count(row) for row in runs} == dict.fromkeys(set(runs), 10)
    assert set(runs) == {"espo", "grpo", "dapo", "gspo", "cispo", "gmpo", "sapo"}


def test_every_planned_job_is_valid() -> None:
    for trial in {json.dumps(asdict(one.trial.method)): one.trial for one in planned(FULL)}.values():
        spec = trial.spec()
        get_objective(spec.algorithm.name, **spec.algorithm.parameters)


def test_the_best_setting_is_that_of_the_highest_mean() -> None:
    pairs = [Pair(task="countdown3", base="tiny-base", seed=seed) for seed in (1, 2)]
    methods = [Method(algorithm="espo", parameters={"alpha": alpha}) for alpha in (0.1, 0.2)]
    trials = [Trial(method=method, pair=pair) for method in methods for pair in pairs]
    accuracies = (0.9, 0.1, 0.6, 0.6)
    lines = {
        one.key: made_up(one, accuracy=value) | {"reward": [0.5] * 60}
        for one, value in zip(trials, accuracies, strict=True)
    }
    assert best(trials, lines) == methods[1]
    del lines[trials[0].key]
    assert best(trials, lines) is None


def test_rollouts_to_a_threshold() -> None:
    line = {"reward": [0.0] * 10 + [1.0] * 10, "rollouts": 2000}
    assert rollouts_to(line, 0.6) == 1300  # three of the last five batches are at 1
    assert rollouts_to(line, 1.1) == 2000


def test_a_comparison_uses_the_pairs_that_both_finished() -> None:
    def line(value: float | None) -> dict[str, Any]:
        return {"held_out": value}

    rows = {"a": {("x", 1): line(0.5), ("x", 2): line(None)}, "b": {("x", 2): line(0.4), ("x", 3): line(0.9)}}
    (one,) = against(rows, "a", held_out)
    assert (one.difference.mean, one.difference.n) == (pytest.approx(0.4), 1)


def test_a_line_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    append(path, {"key": "a", "value": 1})
    append(path, {"key": "b", "value": 2})
    path.write_text(path.read_text()[:-5])
    assert set(read(path)) == {"a"}
    append(path, {"key": "c", "value": 3})
    append(path, {"key": "b", "value": 2})
    assert set(read(path)) == {"a", "b", "c"}


def test_a_report_of_a_whole_campaign_and_of_none(tmp_path: Path) -> None:
    for name, lines in (("whole", completed(FULL)), ("none", {})):
        for line in lines.values():
            append(tmp_path / name / "runs.jsonl", line)
        write_report(FULL, results=tmp_path / name, docs=tmp_path / name / "docs")
        text = (tmp_path / name / "docs" / "tables.md").read_text()
        assert ("no runs" in text) == (name == "none")
        assert "nan" not in text
    plots = [len(list((tmp_path / name / "docs").glob("*.png"))) for name in ("whole", "none")]
    assert plots == [12, 0]


def test_the_committed_tables_are_those_of_the_committed_lines(tmp_path: Path) -> None:
    results, docs = ROOT / "bench" / "results" / "evidence", ROOT / "docs" / "evidence"
    write_report(FULL, results=results, docs=tmp_path)
    assert (tmp_path / "tables.md").read_text() == (docs / "tables.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_reduced_campaign_runs_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    campaign = Campaign(
        scale=REDUCED, results=tmp_path, cache=tmp_path / "cache", stages=frozenset({"tuning"})
    )
    campaign.run()
    path = tmp_path / "runs.jsonl"
    lines = path.read_text()
    plan = Plan(scale=REDUCED, lines=read(path))
    assert {one.trial.key for one in plan.widths() + plan.rates()} == set(plan.lines)
    assert not [line["error"] for line in plan.lines.values() if line["error"]]
    assert plan.tuned is not None
    campaign.run()
    assert path.read_text() == lines
