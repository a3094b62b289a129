from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from espo_contracts.spec import ModelSpec
from espo_core.forest import Forest
from espo_core.policy import Policy, load_policy, ready_to_train
from espo_core.rollout import native
from espo_core.rollout.engine import Sampling
from espo_core.rollout.native import NativeEngine
from tests.espo_core.tiny import make_tokenizer, save_tiny_model

SIZES = {
    "vocab_size": 22,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "initializer_range": 0.2,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "bos_token_id": None,
}
CONFIGS = {
    "llama": LlamaConfig(**SIZES, attention_bias=True),
    "qwen2": Qwen2Config(**{**SIZES, "head_dim": 8}, tie_word_embeddings=True),  # projections with a bias
    "qwen3": Qwen3Config(**SIZES),  # norms of queries and keys
}


def saved(folder: Path, config: Any) -> Path:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for one in model.parameters():
            if one.ndim == 1:  # norms begin at 1 and biases at 0, which would hide much
                one.add_(torch.randn_like(one) * 0.3)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def load(folder: Path, **model: Any) -> Policy:
    spec = ModelSpec.model_validate({"name": "tiny", **model})
    return load_policy(spec, folder=folder, device=torch.device("cpu"), seed=0)


def ready(policy: Policy, *, checkpointing: bool = False, compiled: bool = False) -> Policy:
    return ready_to_train(policy, checkpointing=checkpointing, compiled=compiled, is_whole=True)


def forest() -> Forest:
    ids = np.random.default_rng(0).integers(2, 22, (5, 9))
    ids[:, :4] = ids[0, :4]
    return Forest(ids, np.array([9, 7, 9, 5, 8]), device=torch.device("cpu"))


def gradients(policy: Policy) -> dict[str, Tensor]:
    policy.model.zero_grad()
    (policy.read(forest()) ** 3).sum().backward()  # type: ignore[no-untyped-call]
    return {name: one.grad for name, one in policy.trainable().items() if one.grad is not None}


def assert_same(ours: Policy, theirs: Policy) -> None:
    torch.testing.assert_close(ours.read(forest()), theirs.read(forest()), rtol=1e-5, atol=1e-5)
    expected, found = gradients(theirs), gradients(ours)
    assert expected.keys() == found.keys()
    for name, one in expected.items():
        torch.testing.assert_close(found[name], one, rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.parametrize("kind", CONFIGS)
def test_states_and_gradients_are_those_of_the_modules(kind: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / kind, CONFIGS[kind])
    written_out = ready(load(folder))
    assert written_out.fused is not None
    assert_same(written_out, load(folder))
    with torch.no_grad():
        for one in written_out.trainable().values():
            one.add_(0.01)  # as an optimiser does, in the modules' own weights
    modules = load(folder)
    with torch.no_grad():
        for one in modules.trainable().values():
            one.add_(0.01)
    assert_same(written_out, modules)


def test_the_gradient_outlives_its_owners(tiny_model: Path) -> None:
    policy = ready(load(tiny_model))
    first = {name: one.clone() for name, one in gradients(policy).items()}
    policy.model.zero_grad(set_to_none=True)
    for one in policy.trainable().values():
        one.grad = torch.ones_like(one)
    (policy.read(forest()) ** 3).sum().backward()  # type: ignore[no-untyped-call]
    for name, one in policy.trainable().items():
        if name in first:
            torch.testing.assert_close(one.grad, first[name] + 1)


def test_what_is_saved_is_the_model(tiny_model: Path, tmp_path: Path) -> None:
    policy = ready(load(tiny_model))
    policy.save(tmp_path / "saved")
    size = (tmp_path / "saved" / "model.safetensors").stat().st_size
    assert size == (tiny_model / "model.safetensors").stat().st_size
    again, before = load(tmp_path / "saved").trainable(), load(tiny_model).trainable()
    assert all(torch.equal(one, before[name]) for name, one in again.items())


def test_other_models_stay_with_their_modules(tiny_model: Path, tmp_path: Path) -> None:
    assert ready(load(tiny_model, lora={"rank": 2})).fused is None
    assert ready(load(tiny_model, autocast=True)).fused is None
    folder = save_tiny_model(tmp_path / "tanh", hidden_act="gelu")
    assert ready(load(folder)).fused is None


def test_checkpointing_keeps_fewer_activations_and_the_gradient(tiny_model: Path) -> None:
    plain, sparing = load(tiny_model), ready(load(tiny_model), checkpointing=True)
    assert sparing.fused is None
    assert not any(one.training for one in sparing.model.modules() if isinstance(one, nn.Linear))
    assert_same(sparing, plain)

    def kept(policy: Policy) -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda one: sizes.append(one.numel()) or one, lambda one: one
        ):
            policy.read(forest())
        return sum(sizes)

    assert kept(sparing) < 0.3 * kept(plain)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the tracer looks at it
@pytest.mark.parametrize("lora", [None, {"rank": 2}])  # written out, and by its modules
def test_what_is_compiled_is_the_same(
    lora: dict[str, int] | None, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Traced and run as traced: to make the kernels takes a C++ compiler half a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = ready(load(tiny_model, lora=lora), compiled=True)
    assert_same(compiled, load(tiny_model, lora=lora))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_compiled_step_of_decoding_is_the_same(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of different beginnings enter, are padded, and leave."""
    prompts = [(5, 6, 7), (8,), (9, 10, 11, 12, 13), (14, 15), (3, 4, 5, 6)]
    sampling = Sampling(responses=4, max_new_tokens=20)
    folder = saved(tmp_path / kind, CONFIGS[kind])
    monkeypatch.setattr(native, "rows_that_fit", lambda shape, columns: 12)  # some prompts wait
    expected = NativeEngine(policy=ready(load(folder))).generate(prompts, sampling, seed=1)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = ready(load(folder), compiled=True)
    assert compiled.decodes_at_once
    found = NativeEngine(policy=compiled).generate(prompts, sampling, seed=1)
    assert torch.equal(found.tokens, expected.tokens)
    assert found.is_truncated.any()
    assert not found.is_truncated.all()
    torch.testing.assert_close(found.logp, expected.logp, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "padded"), [(1, 16), (16, 16), (17, 24), (25, 32), (33, 48), (97, 128)])
def test_there_are_few_sizes_of_a_compiled_step(rows: int, padded: int) -> None:
    assert native.padded(rows) == padded
