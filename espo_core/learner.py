"""The update: mini-batches of whole prompt groups, each one step of the optimiser, in bounded passes.

Legend: R responses, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espo_contracts.rollout import MismatchCorrection
from espo_contracts.spec import OptimiserSpec
from espo_core.batch import TokenBatch, Totals
from espo_core.distributed.replicas import SINGLE, Replicas
from espo_core.distributed.world import World
from espo_core.errors import NonFiniteLossError
from espo_core.experience import Experience, Packed, micro_batches
from espo_core.forest import Ints
from espo_core.logprobs import Head, backward_in_one_pass, token_statistics
from espo_core.mismatch import Mismatch, corrected, has_entropies, known
from espo_core.objectives import Objective, ObjectiveOutput
from espo_core.objectives.diagnostics import metrics_of, sums_of
from espo_core.optim import Optimiser
from espo_core.policy import Policy
from espo_core.randomness import derived_seed

NOTHING_TRAINED = {"clip_fraction": 0.0, "clip_fraction_low": 0.0, "clip_fraction_high": 0.0}


@dataclass(slots=True, kw_only=True)
class _Outcome:
    """What the updates of one step measured."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    outputs: list[ObjectiveOutput] = field(default_factory=list)
    trained_tokens: int = 0
    first: list[Mismatch] = field(default_factory=list)
    """Of the passes before the first update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _MiniBatch:
    """The responses that one step of the optimiser averages over."""

    objective: Objective
    experience: Experience
    """The whole rollout batch."""
    trained: Ints
    """[b] those of its responses that a gradient can come from."""
    totals: Totals
    """Size of all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """Turns experience into updates of the policy."""

    policy: Policy
    optimiser: Optimiser
    spec: OptimiserSpec
    temperature: float
    seed: int
    reference: Policy | None = None
    """The base model, where the objective reads its log-probabilities and the policy has no adapters."""
    correction: MismatchCorrection | None = None
    replicas: Replicas = SINGLE

    def completed(self, experience: Experience) -> tuple[Experience, dict[str, float]]:
        """The experience with what of the old policy the trainer computes itself, and what that measures: the
        entropies where the sampler cannot tell them, and everything where its mismatch is corrected."""
        batch, correction = experience.batch, self.correction
        if correction is None and has_entropies(batch):
            return experience, {}
        logp, entropy = self.statistics(experience)
        gap = Mismatch(sampler=batch.logp_old, policy=logp)
        metrics = gap.metrics() | {"policy/entropy": float(entropy.mean())}
        if correction is None:
            batch = known(batch, logp=logp, entropy=entropy)
        else:
            batch = corrected(batch, logp=logp, entropy=entropy, cap=correction.cap)
            metrics |= gap.weight_metrics(correction.cap)
        return replace(experience, batch=batch), metrics

    def learn(
        self, objective: Objective, experience: Experience, *, step: int, rate: float
    ) -> dict[str, float]:
        """Updates the policy from the completed experience of one step; returns the metrics.

        Raises:
            NonFiniteLossError: a loss or gradient is NaN or infinite.
        """
        experience = self._prepared(objective, experience)
        outcome, trains = _Outcome(), _trains(objective, experience.batch)
        with self.policy.dropout():
            for responses in self._mini_batches(experience, step):
                totals = Totals(responses=len(responses), tokens=int(experience.lengths[responses].sum()))
                mini_batch = _MiniBatch(
                    objective=objective,
                    experience=experience,
                    trained=responses[trains[responses]],
                    totals=totals,
                )
                self._update(mini_batch, outcome, rate)
                if not torch.tensor([outcome.losses[-1], outcome.norms[-1]]).isfinite().all():
                    raise NonFiniteLossError(step)
        return _metrics(outcome, tokens=experience.batch.tokens * self.spec.epochs, world=self.replicas.world)

    def _prepared(self, objective: Objective, experience: Experience) -> Experience:
        batch = objective.prepare(experience.batch)
        if "logp_ref" in objective.requires:
            batch = replace(batch, logp_ref=self._reference_logp(experience))
        return replace(experience, batch=batch)

    def _mini_batches(self, experience: Experience, step: int) -> Iterator[Ints]:
        """Yields the responses of each mini-batch: whole prompt groups in a seeded order."""
        group = _group(experience.batch)
        groups = int(group[-1]) + 1
        for epoch in range(self.spec.epochs):
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "mini-batches", step, epoch))
            order = torch.randperm(groups, generator=generator)
            # Dynamic sampling may keep fewer groups than there are mini-batches; an update needs one.
            for chosen in order.tensor_split(min(self.spec.mini_batches, groups)):
                yield np.isin(group, chosen.numpy()).nonzero()[0]

    def _update(self, mini_batch: _MiniBatch, outcome: _Outcome, rate: float) -> None:
        if mini_batch.objective.needs_whole_mini_batch and len(mini_batch.trained):
            mini_batch = self._fitted(mini_batch)
        parts = self._parts(mini_batch.experience, mini_batch.trained)
        losses = [loss for part in parts for loss in self._pass(mini_batch, part, outcome)]
        for states in self._idle(self.policy, mini_batch.experience, passes=len(parts)):
            (0.0 * (states.sum() + self._head().weight.sum())).backward()  # type: ignore[no-untyped-call]
        loss = float(torch.stack(losses).sum()) if losses else 0.0
        outcome.losses.append(self.replicas.world.total(loss))
        outcome.norms.append(self.optimiser.update(rate))

    def _parts(self, experience: Experience, responses: Ints) -> list[Packed]:
        """This rank's share of some responses, in bounded passes."""
        world = self.replicas.world
        mine = experience.share(responses, rank=world.rank, ranks=world.size)
        return list(micro_batches(experience, mine, max_tokens=self.spec.micro_batch_tokens))

    def _idle(self, policy: Policy, experience: Experience, *, passes: int) -> Iterator[Tensor]:
        """Yields states of which nothing is asked, where other ranks must make more passes than this one."""
        for _ in range(self.replicas.passes(passes) - passes):
            yield policy.read(experience.forest(np.zeros(1, dtype=np.int64)))

    def _fitted(self, mini_batch: _MiniBatch) -> _MiniBatch:
        """The mini-batch with an objective that has seen all of its tokens under the policy as it is now."""
        experience, trained = mini_batch.experience, mini_batch.trained
        logp, _ = self.statistics(experience, responses=trained)
        whole = replace(experience.batch, logp=logp).select(torch.from_numpy(trained).to(experience.device))
        return replace(mini_batch, objective=mini_batch.objective.fitted(whole))

    def _pass(self, mini_batch: _MiniBatch, part: Packed, outcome: _Outcome) -> list[Tensor]:
        """Adds the gradient of some responses; returns their shares of the loss, detached."""
        batch = mini_batch.experience.batch.select(torch.from_numpy(part.responses).to(self.policy.device))
        asked = _Asked(
            objective=mini_batch.objective, batch=replace(batch, totals=mini_batch.totals), outcome=outcome
        )
        before = len(outcome.outputs)
        with self.policy.autocast():
            hidden = self.policy.read(part.forest)
        backward_in_one_pass(hidden, self._head(), part.targets, asked.loss)
        return [output.loss.detach() for output in outcome.outputs[before:]]

    def _head(self) -> Head:
        return self.policy.head(self.temperature)

    @torch.no_grad()
    def statistics(
        self, experience: Experience, *, policy: Policy | None = None, responses: Ints | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy [T] of the tokens of some responses, or all, under some policy.

        Those of other responses are as they were under the old policy.
        """
        policy = policy or self.policy
        logp, entropy = experience.batch.logp_old.clone(), experience.batch.entropy_old.clone()
        everyone = np.arange(len(experience.lengths)) if responses is None else responses
        found = torch.zeros((2, len(logp)), dtype=logp.dtype, device=logp.device)
        parts = self._parts(experience, everyone)
        for part in parts:
            with policy.autocast():
                states, targets = policy.read(part.forest), part.targets
            found[:, experience.places(part.responses)] = torch.stack(
                token_statistics(states, policy.head(self.temperature), targets.tokens, rows=targets.rows)
            ).to(found.dtype)
        for _ in self._idle(policy, experience, passes=len(parts)):
            pass
        self.replicas.world.sum_into([found])
        if len(everyone):
            places = experience.places(everyone)
            logp[places], entropy[places] = found[:, places]
        return logp, entropy

    def _reference_logp(self, experience: Experience) -> Tensor:
        """[T] log-probabilities under the base model."""
        adapters = self.policy.adapters
        off: AbstractContextManager[None] = nullcontext() if adapters is None else adapters.disabled()
        with off:
            return self.statistics(experience, policy=self.reference)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The objective of one forward pass, asked for some of its responses at a time."""

    objective: Objective
    batch: TokenBatch
    """The responses of the pass, in its order."""
    outcome: _Outcome

    def loss(self, responses: slice, logp: Tensor, entropy: Tensor) -> Tensor:
        """[] their share of the loss of the mini-batch."""
        batch = self._part(responses)
        reads_entropy = "entropy" in self.objective.requires
        output = self.objective(replace(batch, logp=logp, entropy=entropy if reads_entropy else None))
        outcome = self.outcome
        if not outcome.norms:
            outcome.first.append(Mismatch(sampler=batch.logp_old, policy=logp.detach()))
        outcome.outputs.append(output)
        outcome.trained_tokens += batch.tokens
        return output.loss

    def _part(self, responses: slice) -> TokenBatch:
        if responses == slice(0, self.batch.responses):
            return self.batch
        return self.batch.select(torch.arange(responses.start, responses.stop, device=self.batch.logp.device))


def _trains(objective: Objective, batch: TokenBatch) -> NDArray[np.bool_]:
    """[R] whether a gradient can come from a response: it counts, and where nothing but the surrogate trains
    it has an advantage. The others stay in the totals, so leaving them out changes nothing."""
    trains = torch.full_like(batch.advantage, bool(objective.regularizers), dtype=torch.bool)
    if not objective.regularizers:
        trains[batch.response[batch.token_advantage != 0]] = True
    if batch.weight is not None:
        trains &= batch.weight != 0
    return trains.cpu().numpy()


def _group(batch: TokenBatch) -> Ints:
    assert batch.group is not None  # noqa: S101  make_experience fills it
    return batch.group.cpu().numpy()


def _metrics(outcome: _Outcome, *, tokens: int, world: World) -> dict[str, float]:
    sums = world.gathered(sums_of([output.diagnostics for output in outcome.outputs]))
    measured = NOTHING_TRAINED | metrics_of(sums)
    # Tokens that were left out got no gradient either.
    trained_tokens = world.total(outcome.trained_tokens)
    measured["gradient_utilisation"] = measured.get("gradient_utilisation", 0.0) * trained_tokens / tokens
    metrics = {f"policy/{name.replace('/', '_')}": value for name, value in measured.items()}
    metrics["policy/loss"] = sum(outcome.losses) / len(outcome.losses)
    first = Mismatch.joined(outcome.first)
    metrics |= Mismatch(
        sampler=world.joined(first.sampler.cpu()), policy=world.joined(first.policy.cpu())
    ).metrics()
    metrics["optimiser/gradient_norm"] = sum(outcome.norms) / len(outcome.norms)
    return metrics
