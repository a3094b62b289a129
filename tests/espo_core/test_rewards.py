from __future__ import annotations

import pytest

from espo_core.errors import VerifierError
from espo_core.prompts import Prompt
from espo_core.rewards import score_responses
from espo_core.verifiers import Row, Verdict, WeightedVerifier
from espo_core.verifiers.base import CUT_OFF
from espo_core.verifiers.length import Length, LengthConfig

PROMPTS = [Prompt(text=name, tokens=(1,), row={"answer": name}) for name in ("a", "b")]


def equals(completion: str, row: Row) -> Verdict:
    if completion == "?":
        raise RuntimeError("cannot judge a question")
    return Verdict(score=float(completion == row["answer"]), verified=completion != "!")


REWARD = [WeightedVerifier(name="equals", weight=2.0, verifier=equals)]


def test_each_completion_is_judged_by_its_prompts_row() -> None:
    scored = score_responses(REWARD, PROMPTS, ["a", "b", "a", "b"])
    assert scored.rewards().tolist() == [2.0, 0.0, 0.0, 2.0]
    assert scored.verified().all()
    assert scored.warnings() == []


def test_a_verifier_that_raises_on_some_is_a_warning_and_no_verdict() -> None:
    scored = score_responses(REWARD, PROMPTS, ["a", "?", "!", "?"])
    assert scored.verified().tolist() == [True, False, False, False]
    assert scored.warnings() == [
        "2 verdicts failed, the first with equals: RuntimeError: cannot judge a question"
    ]


def test_each_verifier_has_a_rate_of_verdicts() -> None:
    reward = [
        *REWARD,
        *REWARD,
        WeightedVerifier(name="length", weight=1.0, verifier=Length(config=LengthConfig())),
    ]
    scored = score_responses(reward, PROMPTS, ["a", "?", "!", "b"])
    assert scored.verified_fractions() == {"equals": 0.5, "equals#2": 0.5, "length": 1.0}


def test_a_verifier_that_always_raises_ends_the_run() -> None:
    with pytest.raises(VerifierError, match="all 2 responses: equals: RuntimeError: cannot judge") as caught:
        score_responses(REWARD, PROMPTS, ["?", "?"]).checked(prompts=2)
    assert "verifier's parameters" in caught.value.hint


def endless(completion: str, row: Row) -> Verdict:
    return CUT_OFF if "~" in completion else Verdict(score=1.0, verified=True)


ENDLESS = [*REWARD, WeightedVerifier(name="endless", weight=1.0, verifier=endless)]


def test_a_verifier_that_comes_to_no_end_on_some_is_a_warning_and_no_verdict() -> None:
    scored = score_responses(ENDLESS, PROMPTS, ["a", "~", "~~", "b"])
    assert scored.verified().tolist() == [True, False, False, True]
    assert scored.warnings() == ["endless came to no end on 2 of 4 responses within its time and memory"]
    assert scored.checked(prompts=2) is scored


def test_a_verifier_that_never_comes_to_an_end_ends_the_run() -> None:
    scored = score_responses(ENDLESS, PROMPTS, ["~", "~~"])
    with pytest.raises(VerifierError, match="no end on any of 2 responses: endless used up") as caught:
        scored.checked(prompts=2)
    assert "timeout_seconds" in caught.value.hint


def test_one_hard_prompt_alone_does_not_end_the_run() -> None:
    scored = score_responses(ENDLESS, PROMPTS[:1], ["~", "~~"])
    assert scored.checked(prompts=1) is scored
