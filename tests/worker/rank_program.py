"""A rank for fault tests: of the deeds in the job's name it does those that begin with its number.

`0=metrics:3 0=hang 1=signal:9`; `pid` writes the process down, `last_words:<code>` says why it fails.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.worker.run_program import Program
from worker.child import die_with_parent
from worker.order import END, EVENTS, LAST_WORDS, ORDER


class RankProgram(Program):
    """One rank."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._rank = folder, os.environ["RANK"]
        order = json.loads((folder / ORDER).read_text())
        pipe = folder / EVENTS if self._rank == "0" else Path(os.devnull)
        super().__init__(order, os.open(pipe, os.O_WRONLY))
        for deed in order["spec"]["name"].split():
            if deed.startswith(f"{self._rank}="):
                self.do(deed[2:])
        if self._rank == "0":
            outcome = "handed_back" if (self._work_dir / "stop").exists() else "succeeded"
            (folder / END).write_text(json.dumps({"type": "finished", "outcome": outcome, "step": 10}))

    def pid(self, _: str) -> None:
        print(os.getpid(), file=(self._folder / f"pid-{self._rank}").open("w"))

    def last_words(self, code: str) -> None:
        words = {"code": code, "message": f"{code} of {self._rank}", "hint": "h"}
        words |= {"is_retryable": code == "internal"}
        (self._folder / LAST_WORDS.format(rank=self._rank)).write_text(json.dumps(words))
        sys.exit(1)

    def wait_for_words(self, rank: str) -> None:
        while not (self._folder / LAST_WORDS.format(rank=rank)).exists():
            pass


if __name__ == "__main__":
    die_with_parent()
    RankProgram(Path(sys.argv[1]))
