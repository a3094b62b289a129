"""regex and math: right verdicts, and bounds that hold in any thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from espo_core.errors import ConfigError, VerifierError
from espo_core.verifiers import build_verifier
from espo_core.verifiers.sandbox import MAX_TEXT, SANDBOX, Sandbox


@pytest.fixture(autouse=True, scope="module")
def _no_process_left() -> Any:
    yield
    SANDBOX.close()


def test_regex_searches_or_covers() -> None:
    row: dict[str, Any] = {}
    assert build_verifier("regex", {"pattern": "b+"})("abbc", row).score == 1
    assert build_verifier("regex", {"pattern": "b+", "match": "full"})("abbc", row).score == 0
    assert build_verifier("regex", {"pattern": "B", "ignore_case": True})("abc", row).score == 1
    assert build_verifier("regex", {"pattern": "a.c", "match": "full"})("a\nc", row).score == 0
    dotall = build_verifier("regex", {"pattern": "a.c", "match": "full", "dot_matches_newline": True})
    assert dotall("a\nc", row).score == 1


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "(?P<n>a)(?P<n>b)", "x" * 513, ""])
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        build_verifier("regex", {"pattern": pattern})


def test_a_pattern_that_backtracks_for_ever_is_not_verified_and_the_next_one_is() -> None:
    judge = build_verifier("regex", {"pattern": "(a|aa)+$", "timeout_seconds": 0.2})
    started = time.monotonic()
    cut_off = judge("a" * 60 + "b", {})
    assert (cut_off.verified, cut_off.is_cut_off) == (False, True)
    assert time.monotonic() - started < 10
    assert judge("a" * 60, {}).score == 1


def test_the_bound_holds_in_threads() -> None:
    judge = build_verifier("regex", {"pattern": "(a|aa)+$", "timeout_seconds": 0.1})
    texts = ["a" * 60 + end for end in ("", "b", "", "b", "")]
    with ThreadPoolExecutor(max_workers=5) as pool:
        verdicts = list(pool.map(lambda text: judge(text, {}).verified, texts))
    assert verdicts == [True, False, True, False, True]


def test_a_text_beyond_all_bounds_is_not_verified() -> None:
    assert not build_verifier("regex", {"pattern": "a"})("a" * (MAX_TEXT + 1), {}).verified


def test_the_process_is_replaced_when_it_is_killed() -> None:
    sandbox = Sandbox()
    try:
        assert sandbox.ask("pattern", cpu_seconds=1, pattern="a", flags=0, full=False, text="a") is True
        child = max(psutil.Process().children(), key=lambda process: process.create_time())
        child.kill()
        child.wait()
        answers = [
            sandbox.ask("pattern", cpu_seconds=1, pattern="a", flags=0, full=False, text="a")
            for _ in range(2)
        ]
        assert answers == [None, True]
    finally:
        sandbox.close()


def test_a_broken_installation_is_an_error_and_not_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sandbox = Sandbox()
    try:
        with pytest.raises(VerifierError, match="cannot run: ImportError: broken"):
            sandbox.ask("math", cpu_seconds=1, reference="1", text="1")
    finally:
        sandbox.close()


def test_a_process_that_does_not_start_is_an_error_and_not_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "resource.py").write_text("raise ImportError('broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sandbox = Sandbox()
    try:
        for _ in range(2):
            with pytest.raises(VerifierError, match="does not start"):
                sandbox.ask("pattern", cpu_seconds=1, pattern="a", flags=0, full=False, text="a")
    finally:
        sandbox.close()


def test_the_process_ends_with_its_caller_and_sees_none_of_its_secrets() -> None:
    program = (
        "import os, psutil; from espo_core.verifiers import build_verifier;"
        "build_verifier('regex', {'pattern': 'a'})('a', {});"
        "child = psutil.Process().children()[0];"
        "print(child.pid, 'ESPO_SECRET' in child.environ(), flush=True); os._exit(0)"
    )
    environment = {**os.environ, "ESPO_SECRET": "x", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    pid, saw_secret = run.stdout.split()
    assert saw_secret == b"False"
    deadline = time.monotonic() + 10
    while is_running(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(int(pid))


def is_running(pid: int) -> bool:
    """Whether a process lives; one that ended and waits for its parent (no init in a container) does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("completion", "answer", "expected"),
    [
        (r"The answer is \boxed{0.5}", "1/2", 1),
        (r"so $\frac{1}{2}$", r"\frac12", 1),
        ("it is 42", "42", 1),
        ("it is 42", 42, 1),
        ("it is 41", r"$42$", 0),
        ("The answer is 3. Wait, the answer is 4.", r"\boxed{4}", 1),
        ("$(x+1)^2$", "x^2+2x+1", 1),
        ("no answer", "7", 0),
        ("7", "", None),
    ],
)
def test_math_judges_equivalence(completion: str, answer: Any, expected: float | None) -> None:
    verdict = build_verifier("math", {})(completion, {"answer": answer})
    assert (verdict.score if verdict.verified else None) == expected


def test_math_is_bounded() -> None:
    judge = build_verifier("math", {"timeout_seconds": 0.3})
    started = time.monotonic()
    assert not judge(r"\boxed{9^{9^{9^{9}}}}", {"answer": "5"}).verified
    assert time.monotonic() - started < 20
    assert judge(r"\boxed{5}", {"answer": "5"}).score == 1


def test_math_reads_the_end_of_a_long_text_and_what_follows_a_marker() -> None:
    judge = build_verifier("math", {"answer_after": "</think>"})
    assert judge("word " * 100_000 + "</think> 5", {"answer": "5"}).score == 1
    assert judge("5", {"answer": "5"}).score == 0


def test_an_interrupted_request_leaves_no_answer_for_the_next_one() -> None:
    sandbox = Sandbox()

    def ask(text: str) -> Any:
        return sandbox.ask("pattern", cpu_seconds=5, pattern="(a|aa)+$", flags=0, full=False, text=text)

    try:
        assert ask("a") is True
        interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            ask("a" * 60 + "b")
        interrupt.join()
        assert ask("a") is True
    finally:
        sandbox.close()
