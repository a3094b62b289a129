"""The catalogue of verifiers and the reward made from it."""

from __future__ import annotations

import math

import pytest
from pydantic import BaseModel

from espo_contracts.spec import RewardPart
from espo_core.errors import ConfigError
from espo_core.verifiers import (
    VERIFIERS,
    Row,
    Verdict,
    WeightedVerifier,
    build_reward,
    build_verifier,
    reference_columns,
    score_all,
)

ROW = {"prompt": "1 2>03:", "answer": "3", "numbers": [1, 2], "target": 3}


@pytest.mark.parametrize("name", sorted(VERIFIERS))
def test_every_entry_is_documented_and_bounded(name: str) -> None:
    entry = VERIFIERS[name]
    assert entry.name == name
    assert entry.summary.endswith(".")
    assert entry.config.model_config["frozen"] is True
    for field in entry.config.model_json_schema()["properties"].values():
        assert field["description"]
    _every_number_is_bounded(entry.config)


def _every_number_is_bounded(config: type[BaseModel]) -> None:
    for field in config.model_json_schema()["properties"].values():
        if field.get("type") in ("number", "integer"):
            assert {"minimum", "exclusiveMinimum"} & field.keys()
            assert {"maximum", "exclusiveMaximum"} & field.keys()


def test_an_unknown_name_or_parameter_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'exact'"):
        build_verifier("exat", {})
    with pytest.raises(ConfigError, match="did you mean ignore_case"):
        build_verifier("exact", {"ignore_cas": True})
    with pytest.raises(ConfigError, match=r"ignore_cas.*reference"):
        build_verifier("exact", {"reference": "no column", "ignore_cas": True})


def test_a_score_outside_its_range_is_a_defect() -> None:
    for score in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            Verdict(score=score, verified=True)


def test_the_reward_is_the_weighted_sum() -> None:
    parts = [
        RewardPart(verifier="numeric", weight=1.0),
        RewardPart(verifier="format", weight=0.25, parameters={"markers": ["####"]}),
        RewardPart(verifier="length", weight=-0.5),
    ]
    score = score_all(build_reward(parts), "#### 3", ROW)
    assert score.reward == 1.0 + 0.25 - 0.5
    assert score.verified
    assert score.parts == {"numeric": 1.0, "format": 1.0, "length": 1.0}


def test_one_part_without_a_verdict_leaves_the_whole_unverified() -> None:
    reward = build_reward([RewardPart(verifier="exact"), RewardPart(verifier="length")])
    score = score_all(reward, "3", {"prompt": "no reference here"})
    assert not score.verified
    assert score.parts == {"exact": 0.0, "length": 1.0}
    assert score.unverified == ("exact",)


def test_a_verifier_that_raises_is_not_verified_and_is_named() -> None:
    def broken(completion: str, row: Row) -> Verdict:
        raise KeyError("boom")

    score = score_all([WeightedVerifier(name="broken", weight=1.0, verifier=broken)], "3", ROW)
    assert (score.reward, score.verified, score.raised) == (0.0, False, ("broken: KeyError: 'boom'",))


def test_a_verifier_named_twice_keeps_both_scores() -> None:
    parts = [RewardPart(verifier="format", parameters={"markers": [marker]}) for marker in "abc"]
    assert score_all(build_reward(parts), "a c", ROW).parts == {
        "format": 1.0,
        "format#2": 0.0,
        "format#3": 1.0,
    }


def test_the_columns_of_a_reward_are_known_before_the_run() -> None:
    parts = [
        RewardPart(verifier="countdown"),
        RewardPart(verifier="exact", parameters={"reference": "gold"}),
        RewardPart(verifier="length"),
    ]
    assert reference_columns(parts) == {"numbers", "target", "gold"}
