"""A run with the real vLLM in the trainer's process; skipped where vLLM is not installed for the device."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from espo_core.rollout.vllm.colocated import ENVIRONMENT
from tests.espo_core.tiny import metrics_of, run_job, save_tiny_model, tiny_job

# Half a percent, and rounding in float32. Weights that were not handed over would be off by a tenth and more.
LARGEST_GAP = {"gpu": 0.05, "cpu": 1e-3}
LARGEST_KL = {"gpu": 1e-3, "cpu": 1e-6}


def skip_unless_installed(device: str) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    if torch.cuda.is_available() != (device == "gpu"):
        pytest.skip(f"this vLLM does not run on a {device}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # vLLM's own, dozens
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}], ids=["full", "lora"])
@pytest.mark.parametrize("device", [pytest.param("gpu", marks=pytest.mark.gpu), "cpu"])
def test_vllm_samples_with_the_weights_that_are_trained(
    device: str, lora: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_unless_installed(device)
    for name, value in (ENVIRONMENT | {"VLLM_CPU_KVCACHE_SPACE": "1", "ESPO_VLLM_MEMORY": "0.2"}).items():
        monkeypatch.setenv(name, value)
    # On a CPU, vLLM 0.32 keeps the output layer as it was where it is tied to the embedding.
    shape = {"hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1}
    model = save_tiny_model(tmp_path / "model", tie_word_embeddings=device == "gpu", **shape)
    spec = tiny_job(
        model={"name": "tiny", "dtype": "float32" if device == "cpu" else "bfloat16", "lora": lora},
        data={"held_out": {"max_prompts": 4}, "max_prompt_tokens": 64},
        rollout={"engine": "vllm", "mismatch_correction": {}, "temperature": 0.8, "stop": ["77"]},
        resources={"device": device},
        optimiser={"learning_rate": 3e-2},
        schedule={"steps": 3},
    )
    metrics = metrics_of(run_job(spec, tmp_path / "run", model))
    for told in metrics.values():
        assert told["policy/sampler_gap"] is not None
        assert told["policy/sampler_kl"] is not None
        assert told["policy/sampler_gap"] < LARGEST_GAP[device]
        assert told["policy/sampler_kl"] < LARGEST_KL[device]
    assert metrics[1]["policy/entropy"] != metrics[3]["policy/entropy"]
