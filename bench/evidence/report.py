"""Writes `tables.md` and the plots from the lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.evidence import plots
from bench.evidence.claims import claims_table
from bench.evidence.lines import read
from bench.evidence.methods import CONFIRMED, LEAD
from bench.evidence.outcome import (
    Comparison,
    Outcome,
    Rows,
    against,
    against_all,
    area,
    by_stage,
    difference,
    held_out,
)
from bench.evidence.plan import REUSE, Plan
from bench.evidence.scale import Scale
from bench.evidence.statistics import holm
from bench.evidence.tables import by_base_table, difference_table, main_table, table, with_p
from bench.evidence.tuning import scores

CURVES = ("espo tuned", "espo 0.02", "grpo", "gspo tuned", "gspo published", "dapo", "grpo + baseline")
CLIPPED = ("gspo published", "espo 0.02", "gspo tuned", "espo tuned", "grpo")
TASKS = {"three numbers": "final", "four numbers": "four numbers", "sorting": "sorting"}
PARTS: dict[str, tuple[str, ...]] = {"all three": tuple(TASKS), **{task: (task,) for task in TASKS}}
FORESTS = {
    "final": "Against tuned espo, three numbers",
    "ablations": "Ablations, against tuned espo",
    "baseline": "The baseline from the entropy trajectory against its rivals",
}
RIVALS = ("grpo", "gspo tuned", "dapo")


def write_report(scale: Scale, *, results: Path, docs: Path) -> None:
    """Makes everything anew."""
    plan = Plan(scale=scale, lines=read(results / "runs.jsonl"))
    stages = by_stage((one for block in plan.blocks() for one in block), plan.lines)
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "tables.md").write_text(_tables(plan, stages), encoding="utf-8")
    _plots(stages, docs)


def _tables(plan: Plan, stages: dict[str, Rows]) -> str:
    final = stages.get("final", {})
    runs = sum(len(pairs) for rows in stages.values() for pairs in rows.values())
    seconds = sum(line["seconds"] for line in plan.lines.values())
    parts = {
        "Claims of the paper": claims_table(stages),
        "Final table: three numbers": main_table(final, references=("espo tuned", "grpo")),
        "Tuned espo against grpo, by base model": by_base_table(final, row="espo tuned", reference="grpo"),
        "Ablations of tuned espo": difference_table(stages.get("ablation", {}), "espo tuned"),
        "Many updates per rollout batch": _stress(stages),
        "A baseline from the entropy trajectory": _lead_table(lead(stages, held_out), lead(stages, area)),
        "The three tasks together (not planned: to be read as a hint)": pooled_table(stages),
        "Fresh seeds on the three tasks: grpo with the baseline against its rivals": _confirmed(stages),
        "Three times as long": main_table(stages.get("long", {}), references=("espo tuned", "grpo")),
        "Four numbers": main_table(stages.get("four numbers", {}), references=("espo tuned", "grpo")),
        "Sorting": main_table(stages.get("sorting", {}), references=("espo tuned", "grpo")),
        "Tuning": _tuning(plan),
    }
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in parts.items())
    head = (
        "# Tables of the evidence\n\nWritten by `python -m bench.evidence report` from "
        f"`bench/results/evidence/runs.jsonl`: {runs} runs in the tables, "
        f"{seconds / 3600:.1f} process-hours. "
        "± is the half-width of the 95 % interval over pairs.\n\n"
    )
    return head + text + "\n"


def lead(stages: dict[str, Rows], outcome: Outcome) -> list[Comparison]:
    """The baseline rows against their rivals on every task: one family of comparisons."""
    family = {
        f"{row} − {rival}, {task}": one
        for task, stage in TASKS.items()
        for row in LEAD[-2:]
        for rival in RIVALS
        if (one := difference(stages.get(stage, {}), row, rival, outcome)) is not None
    }
    corrected = holm({name: one.p for name, one in family.items()})
    return [
        Comparison(row=name, reference="", difference=one, corrected=corrected[name])
        for name, one in family.items()
    ]


def pooled_table(stages: dict[str, Rows]) -> str:
    """The rows that all tasks have, their pairs together."""
    pooled: Rows = {row: {} for row in LEAD}
    for stage in TASKS.values():
        for row in LEAD:
            pooled[row] |= stages.get(stage, {}).get(row, {})
    references = [row for row in ("grpo", "dapo", "gspo tuned") if pooled[row]]
    return "\n\n".join(difference_table(pooled, row) for row in references) or "No runs."


def _confirmed(stages: dict[str, Rows]) -> str:
    """The last question: three comparisons of a family of their own, and each task's part in them."""
    rows = stages.get("confirm", {})
    body = []
    for title, tasks in PARTS.items():
        part = {
            row: {name: line for name, line in pairs.items() if line["pair"]["task"] in tasks}
            for row, pairs in rows.items()
        }
        families = [against_all(part, CONFIRMED[0], outcome) for outcome in (held_out, area)]
        body += [
            [title, one.reference, str(one.difference.n), with_p(one), with_p(reward)]
            for one, reward in zip(*families, strict=True)
        ]
    header = [CONFIRMED[0], "minus", "pairs", "held-out accuracy (Holm over 3)", "mean reward (Holm over 3)"]
    return table(header, body)


def _lead_table(accuracies: Sequence[Comparison], areas: Sequence[Comparison]) -> str:
    """The family, and mean rewards beside it, whose p-values are corrected as another."""
    rewards = {one.row: one for one in areas}
    body = [[one.row, str(one.difference.n), with_p(one), with_p(rewards[one.row])] for one in accuracies]
    header = ["", "pairs", f"held-out accuracy (Holm over {len(accuracies)})", "mean reward (Holm)"]
    return table(header, body)


def _stress(stages: dict[str, Rows]) -> str:
    parts = []
    for updates in REUSE:
        rows = stages.get(f"stress {updates}", {})
        if rows:
            rates = {
                row: next(iter(pairs.values()))["method"]["learning_rate"] for row, pairs in rows.items()
            }
            chosen = ", ".join(f"{row} {rate:g}" for row, rate in rates.items())
            body = main_table(rows, references=("espo",))
            parts.append(f"### {updates} updates\n\nLearning rates: {chosen}.\n\n{body}")
    return "\n\n".join(parts) or "No runs."


def _tuning(plan: Plan) -> str:
    planned = plan.widths() + plan.rates()
    chosen = plan.tuned or {}
    body = []
    for name in dict.fromkeys(one.row for one in planned):
        for method, values in scores((one.trial for one in planned if one.row == name), plan.lines):
            mark = "chosen" if chosen.get(name) == method else ""
            settings = ", ".join(f"{key} {value:.3g}" for key, value in method.parameters.items())
            mean = sum(values) / len(values)
            body.append([name, settings, f"{method.learning_rate:g}", str(len(values)), f"{mean:.4f}", mark])
    return table(["", "settings", "learning rate", "runs", "score", ""], body)


def _plots(stages: dict[str, Rows], docs: Path) -> None:
    """The plots for which there are runs."""
    if final := stages.get("final", {}):
        title = "Clip fraction against entropy over training"
        plots.learning_curves(docs / "learning.png", final, CURVES, title="Learning curves, three numbers")
        plots.clip_against_entropy(docs / "clip.png", final, CLIPPED, title=title)
    _forests(stages, docs)
    if rows := stages.get("long", {}):
        plots.learning_curves(docs / "long.png", rows, CURVES, title="Learning curves, three times as long")
    for updates in REUSE:
        if rows := stages.get(f"stress {updates}", {}):
            title = f"{updates} updates per rollout batch"
            plots.learning_curves(docs / f"updates-{updates}.png", rows, tuple(rows), title=title)


def _forests(stages: dict[str, Rows], docs: Path) -> None:
    """Differences of accuracy and of mean reward, where there are any."""
    for outcome, suffix, unit in ((held_out, "", "held-out accuracy"), (area, "-reward", "mean reward")):
        comparisons = {
            "final": against(stages.get("final", {}), "espo tuned", outcome),
            "ablations": against(stages.get("ablation", {}), "espo tuned", outcome),
            "baseline": lead(stages, outcome),
        }
        for name, title in FORESTS.items():
            if comparisons[name]:
                path = docs / f"{name}{suffix}.png"
                plots.forest(path, comparisons[name], title=title, unit=f"difference in {unit}, 95 %")
