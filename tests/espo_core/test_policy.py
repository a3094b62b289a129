from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from espo_contracts.spec import Lora, ModelSpec
from espo_core.errors import ConfigError, ModelError
from espo_core.forest import Forest
from espo_core.logprobs import Head, Targets, backward_in_one_pass
from espo_core.policy import Policy, load_policy
from tests.espo_core.tiny import save_tiny_model

IDS = torch.tensor([[3, 4, 5, 6, 7]])


def load(folder: Path | None, **model: Any) -> Policy:
    spec = ModelSpec.model_validate({"name": "tiny", **model})
    return load_policy(spec, folder=folder, device=torch.device("cpu"), seed=0)


def states(policy: Policy) -> torch.Tensor:
    return policy.read(Forest(IDS.numpy(), np.array([5]), device=policy.device))


def edit(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, **changes}))


def without(*patterns: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for path in (one for pattern in patterns for one in folder.glob(pattern)):
            path.unlink()

    return remove


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def own_code(folder: Path) -> None:
    edit(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    (folder / "evil.py").write_text("raise SystemExit('the model ran its code')")


def sliding_window(folder: Path) -> None:
    edit(folder / "config.json", layer_types=["full_attention", "sliding_attention"])


def no_end(folder: Path) -> None:
    for name in ("generation_config.json", "config.json", "tokenizer_config.json"):
        document = json.loads((folder / name).read_text())
        (folder / name).write_text(
            json.dumps({key: one for key, one in document.items() if not key.startswith("eos_token")})
        )


@pytest.mark.parametrize(
    ("spoil", "reason", "hint"),
    [
        (without("tokenizer*"), "has no tokenizer", "tokenizer.json"),
        (without("*.safetensors"), "no weights in safetensors", "save_pretrained"),
        (pickled_weights, "no weights in safetensors", "never loaded"),
        (cut_weights, "cannot be loaded", "complete"),
        (without("config.json"), "no config.json", "List the models"),
        (own_code, "cannot be loaded", "complete"),
        (sliding_window, "layers of kind sliding_attention", "full attention"),
        (no_end, "no end-of-sequence token", "eos_token"),
    ],
)
def test_a_model_that_cannot_be_used(
    spoil: Callable[[Path], None], reason: str, hint: str, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "spoiled"
    shutil.copytree(tiny_model, folder)
    spoil(folder)
    with pytest.raises(ModelError, match=f"'spoiled' .*{reason}") as caught:
        load(folder)
    assert hint in caught.value.hint
    assert str(tmp_path) not in caught.value.message


def test_no_model() -> None:
    with pytest.raises(ModelError, match="'tiny' was not found"):
        load(None)


def test_a_hub_model_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="'nobody/nothing' cannot be loaded"):
        load(None, name=None, hub={"id": "nobody/nothing"})


def granite(folder: Path, **changes: Any) -> Path:
    save_tiny_model(folder)
    edit(folder / "config.json", model_type="granite", architectures=["GraniteForCausalLM"], **changes)
    return folder


@torch.no_grad()
def test_scaled_logits_are_those_of_the_model(tmp_path: Path) -> None:
    policy = load(granite(tmp_path / "scaled", logits_scaling=8.0, residual_multiplier=0.5))
    assert policy.head().scale == 1 / 8
    logits = policy.head(temperature=2.0).logits(states(policy))
    torch.testing.assert_close(logits, policy.model(IDS).logits[0] / 2, atol=1e-5, rtol=1e-5)


def test_logits_that_are_no_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Policy, "head", lambda self, temperature=1.0: Head(weight=self.weight, scale=1.01))
    with pytest.raises(ModelError, match="'tiny' computes its logits in a way") as caught:
        load(save_tiny_model(tmp_path / "tiny"))
    assert "Llama" in caught.value.hint


def test_an_adapted_model_starts_as_its_base_and_trains_adapters_only(tiny_model: Path) -> None:
    plain, adapted = load(tiny_model), load(tiny_model, lora={"rank": 2})
    assert torch.equal(states(plain), states(adapted))
    assert all(".lora_" in name for name in adapted.trainable())
    assert len(adapted.trainable()) == 2 * 7 * 2


def test_the_seed_decides_the_adapters(tiny_model: Path) -> None:
    first, again = (load(tiny_model, lora={"rank": 2}).trainable() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


@torch.no_grad()
def test_saved_adapters_are_merged_and_the_policy_is_left_alone(tiny_model: Path, tmp_path: Path) -> None:
    policy = load(tiny_model, lora={"rank": 2})
    for one in policy.trainable().values():
        one.normal_(std=0.3)
    before = {name: one.clone() for name, one in policy.model.state_dict().items()}
    policy.save(tmp_path / "saved")
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(saved(IDS).logits, policy.model(IDS).logits, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(saved(IDS).logits, load(tiny_model).model(IDS).logits, atol=1e-2)
    assert all(torch.equal(one, before[name]) for name, one in policy.model.state_dict().items())
    assert load(tmp_path / "saved").eos_ids == policy.eos_ids


@torch.no_grad()
def test_adapters_can_be_switched_off(tiny_model: Path) -> None:
    policy = load(tiny_model, lora={"rank": 2})
    for one in policy.trainable().values():
        one.normal_()
    assert policy.adapters is not None
    with policy.adapters.disabled():
        off = states(policy)
    assert torch.equal(off, states(load(tiny_model)))
    assert not torch.allclose(states(policy), off)


@torch.no_grad()
def test_dropout_is_on_in_training_only(tiny_model: Path) -> None:
    policy = load(tiny_model, lora={"rank": 2, "dropout": 0.5})
    for one in policy.trainable().values():
        one.normal_()
    with policy.dropout():
        assert not torch.equal(states(policy), states(policy))
    assert torch.equal(states(policy), states(policy))


def test_adapters_for_named_layers(tiny_model: Path) -> None:
    policy = load(tiny_model, lora=Lora(rank=2, target_modules=["q_proj"]).model_dump())
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in policy.trainable()} == {"q_proj"}
    with pytest.raises(ConfigError, match="no layer w_proj") as caught:
        load(tiny_model, lora=Lora(rank=2, target_modules=["w_proj", "q_proj"]).model_dump())
    assert "q_proj" in caught.value.hint


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # asked by peft
def test_adapters_alone_are_a_peft_folder(tiny_model: Path, tmp_path: Path) -> None:
    policy = load(tiny_model, lora={"rank": 2, "save_as": "adapters"})
    for one in policy.trainable().values():
        one.normal_(std=0.3)
    policy.save(tmp_path / "adapters")
    assert not list((tmp_path / "adapters").glob("model*.safetensors"))
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    loaded = PeftModel.from_pretrained(base, tmp_path / "adapters")
    torch.testing.assert_close(loaded(IDS).logits, policy.model(IDS).logits, atol=1e-4, rtol=1e-4)
    with pytest.raises(ModelError, match="holds adapters without their model"):
        load(tmp_path / "adapters")


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_an_adapter_on_the_output_layer_is_a_part_of_it(tiny_model: Path, tmp_path: Path) -> None:
    policy = load(tiny_model, lora={"rank": 2, "target_modules": ["lm_head", "q_proj"]})
    for one in policy.trainable().values():
        one.normal_(std=0.3)
    logits = policy.model(IDS).logits[0]
    torch.testing.assert_close(policy.head().logits(states(policy)), logits, atol=1e-4, rtol=1e-4)
    policy.save(tmp_path / "saved")  # the embedding that it was tied to is left alone
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(saved(IDS).logits[0], logits, atol=1e-4, rtol=1e-4)
    with pytest.raises(ConfigError, match="dropout cannot be used with an adapter on lm_head"):
        load(tiny_model, lora={"rank": 2, "target_modules": ["lm_head"], "dropout": 0.1})


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_the_adapter_on_the_output_layer_is_trained(tiny_model: Path) -> None:
    policy = load(tiny_model, lora={"rank": 2, "target_modules": ["lm_head"]})
    with torch.no_grad():
        for one in policy.trainable().values():
            one.normal_(std=0.3)
    expected = torch.autograd.grad(
        policy.model(IDS).logits[0].log_softmax(-1)[:, 3].sum(), list(policy.trainable().values())
    )
    hidden = states(policy)
    targets = Targets(tokens=torch.full((5,), 3), rows=torch.arange(5), lengths=[2, 3])
    backward_in_one_pass(hidden, policy.head(), targets, lambda responses, logp, entropy: logp.sum())
    for one, gradient in zip(policy.trainable().values(), expected, strict=True):
        torch.testing.assert_close(one.grad, gradient, atol=1e-4, rtol=1e-4)
