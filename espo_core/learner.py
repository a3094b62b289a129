"""The update: mini-batches of whole prompt groups, each one step of the optimiser, in bounded passes.

Legend: R responses, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from espo_contracts.spec import OptimiserSpec
from espo_core.batch import Totals
from espo_core.errors import NonFiniteLossError
from espo_core.experience import Experience, micro_batches
from espo_core.logprobs import token_statistics
from espo_core.objectives import Objective, ObjectiveOutput, combined_metrics
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
    sampler_gap: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _MiniBatch:
    """The responses that one step of the optimiser averages over."""

    objective: Objective
    experience: Experience
    """The whole rollout batch."""
    responses: Tensor
    """[B] int64."""
    totals: Totals

    def trained(self) -> Tensor:
        """[b] int64 responses that a gradient can come from: those that count, and where nothing but the
        surrogate trains have an advantage. The totals still count the others."""
        batch = self.experience.batch
        trains = torch.ones_like(self.experience.lengths, dtype=torch.bool)
        if not self.objective.regularizers:
            trains[:] = False
            trains[batch.response[batch.token_advantage != 0]] = True
        if batch.weight is not None:
            trains &= batch.weight != 0
        return self.responses[trains[self.responses]]


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

    def learn(
        self, objective: Objective, experience: Experience, *, step: int, rate: float
    ) -> dict[str, float]:
        """Updates the policy from the experience of one step; returns the metrics.

        Raises:
            NonFiniteLossError: a loss or gradient is NaN or infinite.
        """
        experience = self._prepared(objective, experience)
        outcome = _Outcome()
        with self.policy.dropout():
            for responses in self._mini_batches(experience, step):
                self._update(_mini_batch(objective, experience, responses), outcome, rate)
                if not torch.tensor([outcome.losses[-1], outcome.norms[-1]]).isfinite().all():
                    raise NonFiniteLossError(step)
        return _metrics(outcome, tokens=experience.batch.tokens * self.spec.epochs)

    def _prepared(self, objective: Objective, experience: Experience) -> Experience:
        batch = objective.prepare(experience.batch)
        if "logp_ref" in objective.requires:
            batch = replace(batch, logp_ref=self._reference_logp(experience))
        return replace(experience, batch=batch)

    def _mini_batches(self, experience: Experience, step: int) -> Iterator[Tensor]:
        """Yields the responses of each mini-batch: whole prompt groups in a seeded order."""
        group = experience.batch.group
        assert group is not None  # noqa: S101  make_experience fills it
        groups = int(group[-1]) + 1
        for epoch in range(self.spec.epochs):
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "mini-batches", step, epoch))
            order = torch.randperm(groups, generator=generator).to(group.device)
            # Dynamic sampling may keep fewer groups than there are mini-batches; an update needs one.
            for chosen in order.tensor_split(min(self.spec.mini_batches, groups)):
                yield torch.isin(group, chosen).nonzero()[:, 0]

    def _update(self, mini_batch: _MiniBatch, outcome: _Outcome, rate: float) -> None:
        trained = mini_batch.trained()
        parts = list(micro_batches(mini_batch.experience, trained, max_tokens=self.spec.micro_batch_tokens))
        if mini_batch.objective.needs_whole_mini_batch and len(parts) > 1:
            mini_batch = self._fitted(mini_batch, trained)
        losses = [self._pass(mini_batch, part, outcome) for part in parts]
        outcome.losses.append(float(torch.stack(losses).sum()) if losses else 0.0)
        outcome.norms.append(self.optimiser.update(rate))

    def _fitted(self, mini_batch: _MiniBatch, trained: Tensor) -> _MiniBatch:
        """The mini-batch with an objective that has seen all of its tokens under the policy as it is now."""
        batch = mini_batch.experience.batch
        logp = self._logp(self.policy, mini_batch.experience, trained)
        whole = replace(batch, logp=logp).select(trained)
        return replace(mini_batch, objective=mini_batch.objective.fitted(whole))

    def _pass(self, mini_batch: _MiniBatch, responses: Tensor, outcome: _Outcome) -> Tensor:
        """Adds the gradient of some responses; returns their share of the loss, detached."""
        objective, experience = mini_batch.objective, mini_batch.experience
        logp, entropy = self._statistics(self.policy, experience, responses)
        batch = replace(
            experience.batch.select(responses),
            logp=logp,
            entropy=entropy if "entropy" in objective.requires else None,
            totals=mini_batch.totals,
        )
        output = objective(batch)
        output.loss.backward()  # type: ignore[no-untyped-call]
        if not outcome.norms:
            gap = (logp.detach() - batch.logp_old).abs().max()
            outcome.sampler_gap = max(outcome.sampler_gap, float(gap))
        outcome.outputs.append(output)
        outcome.trained_tokens += batch.tokens
        return output.loss.detach()

    def _statistics(self, policy: Policy, experience: Experience, responses: Tensor) -> tuple[Tensor, Tensor]:
        """[t] log-probability and entropy of the tokens of some responses."""
        hidden = policy.hidden(input_ids=experience.inputs(responses), use_cache=False)
        return token_statistics(
            hidden[experience.positions(responses)],
            policy.weight,
            experience.targets(responses),
            temperature=self.temperature,
        )

    def _reference_logp(self, experience: Experience) -> Tensor:
        """[T] log-probabilities under the base model."""
        adapters = self.policy.adapters
        off: AbstractContextManager[None] = nullcontext() if adapters is None else adapters.disabled()
        every = torch.arange(experience.batch.responses, device=experience.ids.device)
        with off:
            return self._logp(self.reference or self.policy, experience, every)

    @torch.no_grad()
    def _logp(self, policy: Policy, experience: Experience, responses: Tensor) -> Tensor:
        """[T] log-probabilities of the tokens of some responses, and of the others under the old policy."""
        logp = experience.batch.logp_old.clone()
        for part in micro_batches(experience, responses, max_tokens=self.spec.micro_batch_tokens):
            order = part.sort().values
            is_mine = torch.isin(experience.batch.response, order)
            logp[is_mine] = self._statistics(policy, experience, order)[0]
        return logp


def _mini_batch(objective: Objective, experience: Experience, responses: Tensor) -> _MiniBatch:
    totals = Totals(responses=len(responses), tokens=int(experience.lengths[responses].sum()))
    return _MiniBatch(objective=objective, experience=experience, responses=responses, totals=totals)


def _metrics(outcome: _Outcome, *, tokens: int) -> dict[str, float]:
    measured = combined_metrics(outcome.outputs) if outcome.outputs else dict(NOTHING_TRAINED)
    # Tokens that were left out got no gradient either.
    measured["gradient_utilisation"] = (
        measured.get("gradient_utilisation", 0.0) * outcome.trained_tokens / tokens
    )
    metrics = {f"policy/{name.replace('/', '_')}": value for name, value in measured.items()}
    metrics["policy/loss"] = sum(outcome.losses) / len(outcome.losses)
    metrics["policy/sampler_gap"] = outcome.sampler_gap
    metrics["optimiser/gradient_norm"] = sum(outcome.norms) / len(outcome.norms)
    return metrics
