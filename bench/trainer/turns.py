"""Two processes in turn: the parent asks with a line, the child works and answers with a line of JSON.

While one works the other waits for its pipe, so a core that they share is never shared at one time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.trainer.machine import Clock, peak_bytes

Facts = dict[str, Any]


class Over(Exception):  # noqa: N818  not an error: the parent has hung up
    """There is no further turn."""


class Turns:
    """The child's end."""

    def __init__(self) -> None:
        # What libraries print must not come between the answers.
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._began = Clock.now()

    def wait(self) -> None:
        """Returns when the parent asks for a turn, and starts the clock.

        Raises:
            Over: it asks for no more.
        """
        if not sys.stdin.readline():
            raise Over
        self._began = Clock.now()

    def seconds(self) -> float:
        """Since the turn began, by the wall."""
        return self._began.since()["wall"]

    def answer(self, **facts: Any) -> None:
        """Tells the facts of a turn, its seconds among them."""
        seconds = self._began.since()
        self._answers.write(json.dumps({**facts, **seconds, "peak_bytes": peak_bytes()}) + "\n")
        self._answers.flush()


class Child:
    """The parent's end: a process that runs `python -m <module> <order>`, the order as JSON."""

    def __init__(
        self,
        order: Mapping[str, Any],
        log: Path,
        *,
        module: str = "bench.trainer.child",
        on_gpu: bool = False,
    ) -> None:
        self._log = log
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **ENVIRONMENT, **({} if on_gpu else NO_GPU)},
                text=True,
            )

    def turn(self) -> Facts:
        """The facts of one turn.

        Raises:
            SystemExit: the process has died; the end of its log is shown.
        """
        self._write("\n")
        return self.heard()

    def heard(self) -> Facts:
        """What it says next.

        Raises:
            SystemExit: the process has died; the end of its log is shown.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._log} ends with:\n{self._log.read_text(encoding='utf-8')[-3000:]}")
        facts: Facts = json.loads(line)
        return facts

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `heard` tells why

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Hangs up, and makes sure that it ends."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore",
}
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}
