"""The sums: right, distinct, and the committed file is what the script makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from espo_core.verifiers import build_verifier

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "examples" / "data" / "sums.jsonl"


def test_the_committed_file_is_what_the_script_makes(tmp_path: Path) -> None:
    made = tmp_path / "sums.jsonl"
    command = [sys.executable, "examples/make_sums.py", "--output", str(made)]
    subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True
    )
    assert made.read_bytes() == COMMITTED.read_bytes()


def test_every_row_is_a_distinct_chat_with_the_right_answer() -> None:
    rows = [json.loads(line) for line in COMMITTED.read_text().splitlines()]
    questions = [row["messages"][0]["content"] for row in rows]
    assert len(set(questions)) == len(rows) == 512
    for question, row in zip(questions, rows, strict=True):
        found = re.search(r"(\d+) ([-+x]) (\d+)", question)
        if found:
            left, right = int(found[1]), int(found[3])
            assert int(row["answer"]) == {"+": left + right, "-": left - right, "x": left * right}[found[2]]


def test_the_math_verifier_reads_the_answers() -> None:
    row = json.loads(COMMITTED.read_text().splitlines()[0])
    judge = build_verifier("math", {})
    assert judge(f"The answer is {row['answer']}.", row).score == 1
    assert judge(f"The answer is {row['answer']}1.", row).score == 0
