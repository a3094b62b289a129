from __future__ import annotations

import torch

from espo_core.report import peak_memory, resident_memory

# The kernel adds up what its processors count in batches.
SLACK = 1 << 22


def test_the_peak_remembers_what_was_given_back() -> None:
    block = torch.ones(1 << 27, dtype=torch.uint8)
    held = resident_memory()
    assert held > block.numel()
    del block
    assert resident_memory() < held - (1 << 26)
    assert peak_memory(torch.device("cpu")) > held - SLACK
