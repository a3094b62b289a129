"""The engine over HTTP, against a stand-in of vLLM's server on a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from espo_contracts.spec import Lora, ModelSpec, OptimiserSpec
from espo_core.errors import ConfigError, EspoError
from espo_core.optim import Optimiser
from espo_core.policy import Policy, load_policy
from espo_core.rollout.engine import Rollout, Sampling
from espo_core.rollout.native import NativeEngine
from espo_core.rollout.vllm import server
from espo_core.rollout.vllm.engine import VllmEngine
from espo_core.rollout.vllm.server import server_at
from espo_core.rollout.vllm.wording import questions
from tests.espo_core.rollout.vllm.stand_in import StandIn, serving
from tests.servers import free_port

PROMPTS = [(3, 4, 5), (6, 7), (3, 4, 5)]
SAMPLING = Sampling(responses=4, max_new_tokens=8, temperature=0.8, stop=("7",))


@pytest.fixture
def stand_in(tiny_model: Path) -> StandIn:
    return StandIn(tiny_model)


@pytest.fixture
def url(stand_in: StandIn) -> Iterator[str]:
    with serving(stand_in) as address:
        yield address


def drawn_natively(policy: Policy, seed: int) -> Rollout:
    """What an engine draws that is asked prompt by prompt with vLLM's seeds."""
    asked = questions(PROMPTS, SAMPLING, ends=policy.eos_ids, seed=seed)
    seeds: list[Any] = [one.arguments["seed"] for one in asked]
    engine = NativeEngine(policy=policy)
    parts = [
        engine.generate([prompt], SAMPLING, seed=one) for prompt, one in zip(PROMPTS, seeds, strict=True)
    ]
    return Rollout.joined(parts)


def updated(policy: Policy) -> None:
    """A step of the optimiser, large enough to be seen."""
    spec = OptimiserSpec(learning_rate=0.1)
    optimiser = Optimiser(policy.trainable(), spec)
    torch.manual_seed(1)
    for one in policy.trainable().values():
        one.grad = torch.randn_like(one)
    optimiser.update(0.1)


@pytest.mark.parametrize("lora", [None, Lora(rank=2, alpha=4.0)])
def test_samples_with_the_weights_of_the_moment(
    lora: Lora | None, tiny_model: Path, tmp_path: Path, url: str, stand_in: StandIn
) -> None:
    spec = ModelSpec(name="tiny", lora=lora)
    policy = load_policy(spec, folder=tiny_model, device=torch.device("cpu"), seed=0)
    engine = VllmEngine(policy=policy, backend=server_at(url, tmp_path))
    before = engine.generate(PROMPTS, SAMPLING, seed=5)
    updated(policy)
    rollout, expected = engine.generate(PROMPTS, SAMPLING, seed=5), drawn_natively(policy, seed=5)
    assert rollout.split() == expected.split()
    assert rollout.split() != before.split()
    torch.testing.assert_close(rollout.logp, expected.logp, atol=1e-4, rtol=0)
    assert torch.equal(rollout.is_truncated, expected.is_truncated)
    assert 0 < int(rollout.is_truncated.sum()) < 12
    assert rollout.entropy.isnan().all()
    assert stand_in.loaded == 2
    assert not list(tmp_path.iterdir())


def test_the_same_prompt_twice_is_answered_twice(policy: Policy, url: str, tmp_path: Path) -> None:
    engine = VllmEngine(policy=policy, backend=server_at(url, tmp_path))
    rollout = engine.generate(PROMPTS, SAMPLING, seed=5)
    assert rollout.split()[:4] != rollout.split()[8:]
    again = engine.generate(PROMPTS[2:], SAMPLING, seed=5, first=8)
    assert again.split() == rollout.split()[8:]
    greedy = Sampling(responses=1, max_new_tokens=8, is_greedy=True)
    likeliest = NativeEngine(policy=policy).generate(PROMPTS, greedy, seed=1)
    assert engine.generate(PROMPTS, greedy, seed=0).split() == likeliest.split()


@pytest.mark.parametrize(
    ("path", "said", "message"),
    [
        ("/v1/completions", (500, b"out of memory"), r"refused /v1/completions \(500\): out of memory"),
        ("/v1/completions", (200, b"<html>"), "no completion with tokens"),
        ("/v1/completions", (200, b'{"choices": []}'), "0 responses to a prompt instead of 4"),
        ("/v1/completions", (200, b'{"choices": [{"index": 0, "text": "a"}]}'), "no completion with tokens"),
        ("/collective_rpc", (404, b"Not Found"), r"refused /collective_rpc \(404\)"),
    ],
)
def test_tells_what_the_server_did_not_do(
    path: str,
    said: tuple[int, bytes],
    message: str,
    policy: Policy,
    url: str,
    stand_in: StandIn,
    tmp_path: Path,
) -> None:
    stand_in.instead[path] = said
    with pytest.raises(EspoError, match=message) as raised:
        VllmEngine(policy=policy, backend=server_at(url, tmp_path)).generate(PROMPTS, SAMPLING, seed=0)
    assert raised.value.code == "internal"
    assert not list(tmp_path.iterdir())


def test_an_endless_reply_is_not_read(
    policy: Policy, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_REPLY", 100)
    with pytest.raises(EspoError, match="over 100 bytes"):
        VllmEngine(policy=policy, backend=server_at(url, tmp_path)).generate(PROMPTS, SAMPLING, seed=0)


def test_a_server_that_dies_ends_the_run_with_its_reason(
    policy: Policy, stand_in: StandIn, tmp_path: Path
) -> None:
    with serving(stand_in) as url:
        backend = server_at(url, tmp_path)
    with pytest.raises(EspoError, match="failed at /collective_rpc: ConnectError"):
        VllmEngine(policy=policy, backend=backend).generate(PROMPTS, SAMPLING, seed=0)


def test_a_server_that_is_not_there_is_the_operator_s(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not ready: ConnectError") as raised:
        server_at(f"http://127.0.0.1:{free_port()}", tmp_path)
    assert "ESPO_VLLM_URL" in raised.value.hint
