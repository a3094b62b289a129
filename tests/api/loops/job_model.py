"""What a job is meant to do, in as few words as will do: the state machine's twin for tests."""

from __future__ import annotations

from dataclasses import dataclass

OVER = frozenset({"succeeded", "failed", "cancelled"})
State = tuple[str, str, int, int, bool]
"""Status, wish, attempts so far, attempts allowed, and whether one lives."""
RESTS = {"run": "queued", "pause": "paused", "cancel": "cancelled"}


@dataclass(slots=True, kw_only=True)
class JobModel:
    """A job without its database."""

    fresh_attempts: int
    """How many a submission and a retry give."""
    max_attempts: int = 0
    status: str = "queued"
    desired: str = "run"
    attempt: int = 0
    is_live: bool = False
    is_claimed: bool = False
    is_seen: bool = False
    """The database knows that a worker has it."""

    def __post_init__(self) -> None:
        self.max_attempts = self.max_attempts or self.fresh_attempts

    @property
    def state(self) -> State:
        return self.status, self.desired, self.attempt, self.max_attempts, self.is_live

    @property
    def has_succeeded(self) -> bool:
        return self.status == "succeeded"

    @property
    def is_free(self) -> bool:
        """Whether the first worker to come gets the attempt."""
        return self.is_live and not (self.is_claimed or self.is_seen)

    def wish(self, wish: str) -> bool:
        """Whether the user's wish is granted."""
        granted: bool = getattr(self, wish)()
        return granted

    @property
    def _is_going(self) -> bool:
        return self.status in {"queued", "running"} and self.desired == "run"

    @property
    def _is_being_cancelled(self) -> bool:
        return self.status == "running" and self.desired == "cancel"

    def cancel(self) -> bool:
        if self.status in OVER:
            return self.status == "cancelled"
        self._stop("cancel")
        return True

    def pause(self) -> bool:
        if self.status in OVER or self._is_being_cancelled:
            return False
        if self.status == "queued" and self.is_live:
            self.max_attempts += 1
        if self.status != "paused":
            self._stop("pause")
        return True

    def resume(self) -> bool:
        if self.status in OVER or self._is_being_cancelled:
            return False
        if self.status == "paused":
            self.max_attempts = max(self.max_attempts, self.attempt + 1)
            self.status = "queued"
        self.desired = "run"
        return True

    def retry(self) -> bool:
        if self.status in {"failed", "cancelled"}:
            self.max_attempts = self.attempt + self.fresh_attempts
            self.status, self.desired = "queued", "run"
            return True
        return self._is_going

    def open(self) -> None:
        """The dispatcher's next attempt."""
        self.attempt += 1
        self.is_live, self.is_claimed, self.is_seen = True, False, False

    def start(self) -> None:
        self.status, self.is_seen = "running", True

    def finish(self, outcome: str) -> None:
        self._close()
        if outcome in OVER:
            self.status = outcome
        else:
            self.max_attempts += 1
            self.status = RESTS[self.desired]

    def fail(self, *, is_retryable: bool) -> None:
        self._close()
        is_used_up = self.desired == "run" and self.attempt >= self.max_attempts
        self.status = RESTS[self.desired] if is_retryable and not is_used_up else "failed"

    def be_replaced(self) -> None:
        """Redis lost its attempt, which may be in anybody's hands."""
        self._close()
        self.max_attempts += 1

    def _stop(self, desired: str) -> None:
        self.desired = desired
        if self.status != "running":
            self._close()
            self.status = RESTS[desired]

    def _close(self) -> None:
        self.is_live = False
