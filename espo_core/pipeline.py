"""Rollouts made ahead of the updates that train on them.

With `rollout.max_staleness` k = 0 a step samples, then updates. With k > 0 a thread samples for the next k
steps while this one updates:

    thread   [ rollout of step 3 by the weights after step 1 ][ of step 4 by those after step 2 ]…   (k = 1)
    main     [ update of step 2                              ][ update of step 3                ]…

The rollout of step j is sampled by the weights after step max(0, j − 1 − k), whatever the timing: they are
copied between two updates and loaded into a second policy, which only samples. So a run still follows from
its seed bit by bit. One thread makes all rollouts one after another, for what the sampler of prompts hears of
one decides what the next one asks. At most k + 1 copies of the weights wait their turn; weights that are not
trained are shared.

The old policy of every ratio is the one that sampled, since its log-probabilities come with the rollout.
With `rollout.mismatch_correction` it is the trained one as its step begins, and the weights of the correction
make up for its being younger than the one that sampled.

A checkpoint after step s keeps the rollouts of steps s + 1 … s + k, which older weights have sampled, and the
sampler's place after them. That of s + k + 1 is sampled by the weights after s, so it is made again.

It pays where both have a core or a device of their own: on two cores, with `cpu_threads` 1, a run takes 1.3 ×
the steps a second at 0.2 M parameters and 1.4 × at 2.4 M. On one they only take each other's time. The second
policy costs memory either way.
"""

from __future__ import annotations

import copy
import math
import time
from collections import ChainMap
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

import torch
from torch import Tensor

from espo_core.checkpoint import TrainingState
from espo_core.gather import Gatherer
from espo_core.pending import PendingRollout, pending_tensors
from espo_core.policy import Policy, with_fused_layers
from espo_core.samplers import SamplerState
from espo_core.samplers.dynamic import Gathered
from espo_core.sources import SourceState, check_pending, remembered, restore_sampler

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """A rollout that was made ahead."""

    step: int
    """Which trains on it."""
    gathered: Gathered
    weights: int
    """The step after which the weights that sampled it were taken."""
    sampler: SamplerState
    """The sampler's place after it."""
    memory: dict[str, Tensor]
    """What the sampler then remembered, by its names in the training state."""
    seconds: float
    """How long it took; NaN where it comes from a checkpoint."""


class _StoppedError(Exception):
    """The run ended while a rollout was made, which nobody waits for."""


class Pipeline:
    """Makes the rollouts of the next steps in a thread."""

    def __init__(self, gatherer: Gatherer, *, trained: Policy, staleness: int, steps: int) -> None:
        """A pipeline whose gatherer samples with a `sampling_copy` of the trained policy."""
        self.gatherer, self._trained = gatherer, trained
        self._staleness, self._steps = staleness, steps
        self._thread = ThreadPoolExecutor(
            max_workers=1,
            thread_name_prefix="rollouts",
            initializer=_prepare_thread,
            initargs=(torch.get_num_threads(), trained.device),
        )
        self._is_stopped = Event()
        self._pending: dict[int, Future[_Made]] = {}
        self._taken: _Made | None = None
        self._waited = 0.0
        gatherer.policy.model.get_input_embeddings().register_forward_pre_hook(self._stop_if_asked)

    @contextmanager
    def running(self, done: int) -> Iterator[None]:
        """Makes rollouts while the context is open; at its end the one in progress is given up."""
        try:
            self.follow(done)
            yield
        finally:
            self._is_stopped.set()
            self._thread.shutdown(cancel_futures=True)

    def take(self, step: int) -> Gathered:
        """The rollout of the next step, waited for where it is not ready."""
        began = time.perf_counter()
        self._taken = self._pending[step].result()
        del self._pending[step]
        self._waited = time.perf_counter() - began
        return self._taken.gathered

    def follow(self, step: int) -> None:
        """Has the weights as they are now sample what is to be sampled after this step."""
        first, last = step + 1 + len(self._pending), min(step + 1 + self._staleness, self._steps)
        if first <= last:
            weights = {name: one.detach().clone() for name, one in self._trained.trainable().items()}
            for coming in range(first, last + 1):
                self._pending[coming] = self._thread.submit(self._make, coming, weights, step)

    def metrics(self) -> dict[str, float]:
        """Steps between the weights that sampled and those to be trained, and times."""
        made = self._taken
        if made is None:
            return {}
        tokens = len(made.gathered.sampled.rollout.tokens)
        return {
            "rollout/staleness": float(made.step - 1 - made.weights),
            "rollout/tokens_per_second": tokens / made.seconds,
            "time/rollout_seconds": made.seconds,
            "time/rollout_wait_seconds": self._waited,
        }

    def state(self, step: int) -> SourceState:
        """Where it stands after this step; waits for the rollouts that older weights sample."""
        last = min(step + self._staleness, self._steps)
        made = [self._pending[coming].result() for coming in range(step + 1, last + 1)]
        newest = made[-1] if made else self._taken
        assert newest is not None  # noqa: S101  a step was taken
        tensors = [pending_tensors(one.gathered.sampled.rollout, step=one.step) for one in made]
        return SourceState(
            sampler=newest.sampler,
            pending=[PendingRollout.of(one.gathered, step=one.step, weights=one.weights) for one in made],
            tensors=dict(ChainMap(newest.memory, *tensors)),
        )

    def restore(self, state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
        """Continues from a checkpoint."""
        check_pending(state, staleness=self._staleness)
        restore_sampler(self.gatherer.sampler, state, tensors)
        for kept in state.pending:
            gathered = kept.gathered(self.gatherer, tensors)
            made = self._noted(gathered, step=kept.step, weights=kept.weights, seconds=math.nan)
            self._pending[kept.step] = Future()
            self._pending[kept.step].set_result(made)

    def _make(self, step: int, weights: Weights, trained: int) -> _Made:
        """The rollout of a step by the weights after step `trained`; in the thread."""
        began = time.perf_counter()
        _load(self.gatherer.policy, weights)
        gathered = self.gatherer.gather(step)
        return self._noted(gathered, step=step, weights=trained, seconds=time.perf_counter() - began)

    def _noted(self, gathered: Gathered, *, step: int, weights: int, seconds: float) -> _Made:
        sampler = self.gatherer.sampler
        return _Made(
            step=step,
            gathered=gathered,
            weights=weights,
            sampler=sampler.state(),
            memory={name: one.clone() for name, one in remembered(sampler).items()},
            seconds=seconds,
        )

    def _stop_if_asked(self, *_: Any) -> None:
        """Before each pass of the model's modules; one so small that it samples without them is soon done."""
        if self._is_stopped.is_set():
            raise _StoppedError


def sampling_copy(policy: Policy) -> Policy:
    """A policy of the same weights, which only samples; it shares those that are not trained."""
    frozen = [one for one in policy.model.parameters() if not one.requires_grad]
    shared: dict[int, Any] = {id(one): one for one in (*frozen, policy.tokenizer)}
    copied = copy.deepcopy(replace(policy, fused=None), shared)
    copied.model.requires_grad_(False)
    return copied if policy.fused is None else with_fused_layers(copied)


def _prepare_thread(threads: int, device: torch.device) -> None:
    """Sets what is a property of each thread; sums on another number of threads round differently."""
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)


@torch.no_grad()
def _load(policy: Policy, weights: Weights) -> None:
    parameters = dict(policy.model.named_parameters())
    for name, one in weights.items():
        parameters[name].copy_(one)
