"""The paper's claims against the lines: each with the number that decides it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import numpy as np

from bench.evidence.lines import Line
from bench.evidence.outcome import PairName, Rows, area, curve_mean, difference, held_out
from bench.evidence.statistics import Paired, paired
from bench.evidence.tables import signed, table

CLIP = curve_mean("clip")


def claims_table(stages: Mapping[str, Rows]) -> str:
    """What the paper says, what was measured, and whether it holds here."""
    final, ablation = stages.get("final", {}), stages.get("ablation", {})
    narrow = {**ablation, **final}
    body = [
        *(
            [
                f"{row} clips at most a quarter of what gspo at its published ε clips",
                *_clip_ratio(narrow, row),
            ]
            for row in ("espo 0.02", "espo tuned", "alpha 0.2", "alpha 0.5")
        ),
        [
            "the clip fraction rises as entropy falls (Fig. 5): correlation over training",
            *_correlation(final),
        ],
    ]
    better = {
        "espo (α = 0.02) learns better than gspo (published ε)": (final, "espo 0.02", "gspo published"),
        "espo (tuned) learns better than gspo (tuned)": (final, "espo tuned", "gspo tuned"),
        "espo (tuned) learns better than grpo (tuned)": (final, "espo tuned", "grpo"),
        "the grouping helps (Table 2)": (ablation, "espo tuned", "no grouping"),
        "the adaptive clip helps (Table 2)": (ablation, "espo tuned", "fixed clip"),
        "removing the grouping hurts more than removing the adaptive clip": (
            ablation,
            "fixed clip",
            "no grouping",
        ),
        "20 % of high-entropy tokens is better than 10 % (Fig. 6)": (ablation, "espo tuned", "top 10 %"),
        "20 % of high-entropy tokens is better than 40 % (Fig. 6)": (ablation, "espo tuned", "top 40 %"),
        "20 % alone is better than 10 % alone": (ablation, "top group only", "top 10 % only"),
        "20 % alone is better than 40 % alone": (ablation, "top group only", "top 40 % only"),
    }
    for claim, (rows, row, reference) in better.items():
        body.append([claim, *_decided(rows, row, reference)])
    both = {**_named_by_alpha(final.get("espo tuned", {})), **ablation, **final}
    for alpha in (0.01, 0.05, 0.1):
        decided = _decided(both, "espo 0.02", f"alpha {alpha:g}")
        body.append([f"α = 0.02 is better than {alpha:g} (Table 3)", *decided])
    return table(["claim", "measured", "here", "by mean reward"], body)


def _named_by_alpha(pairs: Mapping[PairName, Line]) -> Rows:
    """Tuned ESPO under the name that its α has among the ablations."""
    return {f"alpha {line['method']['parameters']['alpha']:g}": dict(pairs) for line in pairs.values()}


def verdict(one: Paired) -> str:
    """Whether a positive difference is shown."""
    if one.low > 0:
        return "holds"
    return "fails" if one.high < 0 else "not decided"


def _decided(rows: Rows, row: str, reference: str) -> list[str]:
    """The primary endpoint decides; the mean reward over the run, which varies less, stands beside it."""
    accuracy, reward = (difference(rows, row, reference, outcome) for outcome in (held_out, area))
    if accuracy is None or reward is None:
        return ["no runs", "", ""]
    measured = f"{signed(accuracy)} held-out ({accuracy.n} pairs)"
    return [measured, verdict(accuracy), f"{signed(reward)}: {verdict(reward)}"]


def _clip_ratio(rows: Rows, row: str) -> list[str]:
    """The largest ratio that the interval over pairs allows must be a quarter at most."""
    ours, theirs = rows.get(row, {}), rows.get("gspo published", {})
    ratios = [CLIP(ours[name]) / CLIP(theirs[name]) for name in ours if name in theirs and CLIP(theirs[name])]
    if not ratios:
        return ["no runs", "", ""]
    one = paired(ratios)
    clips = [statistics.fmean(CLIP(line) for line in pairs.values()) for pairs in (ours, theirs)]
    here = "holds" if one.high <= 0.25 else "fails" if one.low > 0.25 else "not decided"
    return [f"{clips[0]:.1%} against {clips[1]:.1%}: ratio {one.mean:.2f} ± {one.half_width:.2f}", here, ""]


def _correlation(final: Rows) -> list[str]:
    cells, verdicts = [], set()
    for row in ("espo 0.02", "espo tuned", "gspo published"):
        values = [value for line in final.get(row, {}).values() if (value := _of_run(line)) is not None]
        if values:
            one = paired(values)
            cells.append(f"{row} {signed(one, digits=2)}")
            verdicts.add(verdict(Paired(mean=-one.mean, half_width=one.half_width, p=one.p, n=one.n)))
    return ["; ".join(cells) or "no runs", " / ".join(sorted(verdicts)), ""]


def _of_run(line: Line) -> float | None:
    """Correlation of clip fraction and entropy over the bins of a run."""
    clip, entropy = line["curves"]["clip"], line["curves"]["entropy"]
    if len(clip) < 3 or len(set(clip)) < 2 or len(set(entropy)) < 2:
        return None
    return float(np.corrcoef(clip, entropy)[0, 1])
