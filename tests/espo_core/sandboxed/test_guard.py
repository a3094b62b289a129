"""A completion that is evaluated as Python reaches nothing outside the sandbox process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from espo_core.tasks import build_task
from espo_core.verifiers import build_verifier
from espo_core.verifiers.sandbox import SANDBOX

# The scorer of this dataset evaluates the answer.
PARAMETERS = {"dataset": "string_insertion", "train_rows": 16, "held_out_rows": 16}


@pytest.fixture(scope="module")
def row() -> Any:
    yield build_task("reasoning_gym", PARAMETERS).rows().train[0]
    SANDBOX.close()


def answers(folder: Path) -> dict[str, str]:
    """Answers that would leave a trace in a folder."""
    trace = str(folder / "trace")
    return {
        "file": f"[open({trace!r}, 'w').write('x')]",
        "folder": f"[__import__('os').mkdir({trace!r})]",
        "shell": f"[__import__('os').system('touch {trace}')]",
        "process": f"[__import__('subprocess').run(['touch', {trace!r}])]",
        "link": f"[__import__('os').symlink('/', {trace!r})]",
    }


@pytest.mark.parametrize("kind", ["file", "folder", "shell", "process", "link"])
def test_nothing_is_written_or_started(row: dict[str, Any], tmp_path: Path, kind: str) -> None:
    answer = answers(tmp_path)[kind]
    build_verifier("reasoning_gym", {})(answer, row)
    assert not list(tmp_path.iterdir())
    # The same text does leave a trace where nothing guards it, so that the test can fail.
    subprocess.run([sys.executable, "-c", answer], check=True)
    assert list(tmp_path.iterdir())


def test_no_connection_is_opened(row: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        port = server.getsockname()[1]
        answer = f"[__import__('socket').create_connection(('127.0.0.1', {port}))]"
        build_verifier("reasoning_gym", {})(answer, row)
        with pytest.raises(TimeoutError):
            server.accept()
        subprocess.run([sys.executable, "-c", answer], check=True)
        server.accept()[0].close()


def test_the_caller_is_not_killed(row: dict[str, Any]) -> None:
    verdict = build_verifier("reasoning_gym", {})(f"[__import__('os').kill({os.getpid()}, 9)]", row)
    assert verdict.score == 0


@pytest.mark.parametrize("ending", ["exit()", "__import__('os')._exit(0)", "__import__('os').abort()"])
def test_a_process_that_an_answer_ends_is_replaced(row: dict[str, Any], ending: str) -> None:
    judge: Callable[..., Any] = build_verifier("reasoning_gym", {})
    assert not judge(f"[{ending}]", row).verified
    assert judge(row["answer"], row).score == 1
