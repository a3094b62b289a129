"""What libraries do on their first use, done ahead of time by a process that waits for its run."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as hf_logging

from espo_core.loading import ModelSource, load_model

# Any causal language model will do; this one is as small as they come.
SMALLEST = LlamaConfig(
    vocab_size=8,
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=1,
    max_position_embeddings=8,
)


def warm_up(folder: Path) -> None:
    """Loads and trains a model of a few hundred weights: patterns are compiled, kernels and buffers set up.

    It saves a run about half a second, and leaves nothing behind that a run could notice. What it writes into
    `folder` is the caller's to remove: a process that is killed here cannot.

    Raises:
        OSError, SafetensorError: the disk is full.
    """
    hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    LlamaForCausalLM(SMALLEST).save_pretrained(folder)
    model = load_model(ModelSource.of_folder(folder), dtype="float32")
    ids = torch.zeros((2, 4), dtype=torch.long)
    model(input_ids=ids, labels=ids).loss.backward()
    torch.optim.AdamW(model.parameters(), fused=True).step()
