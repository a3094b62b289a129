"""An objective: its parts put together, and what was measured on the way.

J = Σ_t w_t · (c_t · surrogate_t − Σ penalties_t) is maximised; the loss is −J. c is `TokenBatch.importance`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from espo_core.batch import TokenBatch
from espo_core.errors import ConfigError
from espo_core.objectives.adaptive_clip import SearchedTrustRegion
from espo_core.objectives.advantage import AdvantageKind, centre
from espo_core.objectives.aggregation import AggregationPart
from espo_core.objectives.credit import AdaptivePart, CreditPart
from espo_core.objectives.diagnostics import Diagnostics, Mean, mean_of, read_metrics, share_of, shares_among
from espo_core.objectives.ratio import Ratio, RatioPart, log_ratio
from espo_core.objectives.regularizer import Penalty, RegularizerPart, k3
from espo_core.objectives.trust_region import Surrogate, TrustRegionPart
from espo_core.objectives.units import UnitsPart


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectiveOutput:
    """The loss of one batch and its measurements."""

    loss: Tensor
    """[] to be minimised; carries the gradient."""
    diagnostics: Diagnostics
    """Sums behind the metrics, still on the device."""

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The metrics as numbers; the first reading waits for the device.

        clip_fraction, clip_fraction_low, clip_fraction_high: share of the tokens with Â ≠ 0 and w ≠ 0 whose
        gradient the trust region removed; 0 where there is none. gradient_utilisation: share of all tokens
        that get a gradient from the surrogate. ratio_mean, ratio_max: of the parts' ratio over tokens.
        approx_kl: k3 estimate of KL(π_old‖π_θ). The parts add theirs, as `epsilon_mean/0`.
        """
        return combined_metrics([self])


def combined_metrics(outputs: Sequence[ObjectiveOutput]) -> dict[str, float]:
    """The metrics of micro-batches as of their mini-batch, in one transfer from the device."""
    none_counted = {"clip_fraction": 0.0, "clip_fraction_low": 0.0, "clip_fraction_high": 0.0}
    return none_counted | read_metrics([output.diagnostics for output in outputs])


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A policy objective as the composition of its parts; immutable, as they are."""

    units: UnitsPart
    ratio: RatioPart
    trust_region: TrustRegionPart
    aggregation: AggregationPart
    regularizers: tuple[RegularizerPart, ...] = ()
    advantage_kind: AdvantageKind = "zscore"
    """How the trainer turns rewards into `TokenBatch.advantage`."""
    credit: CreditPart | None = None
    """What turns one advantage per response into one per token; None gives all tokens their response's."""
    needs_equal_numerics: bool = False
    """True where the trust region can be narrower than the rounding between a sampler and a trainer that
    compute in different precision; the trainer then warns."""

    @property
    def requires(self) -> frozenset[str]:
        """Names of the optional TokenBatch fields that the trainer must fill."""
        parts = (self.trust_region, self.credit, *self.regularizers)
        return frozenset().union(*(getattr(part, "requires", ()) for part in parts))

    @property
    def needs_whole_mini_batch(self) -> bool:
        """True where `fitted` must see a mini-batch before its micro-batches are trained on."""
        return isinstance(self.trust_region, SearchedTrustRegion)

    def prepare(self, batch: TokenBatch) -> TokenBatch:
        """The batch with what depends on the old policy and the rewards alone computed over all of it.

        Call it once on a rollout batch before cutting mini-batches with `TokenBatch.select`; the result is
        for this objective only.

        Raises:
            ConfigError: the credit part reads rewards or groups, and they are missing.
        """
        units = self.units(batch)
        return replace(
            batch,
            level=units.per_token(units.level),
            group_mean=_group_mean(batch),
            credit=None if self.credit is None else self.credit(batch),
        )

    def fitted(self, batch: TokenBatch) -> "Objective":
        """The objective with bounds that are searched on a whole mini-batch settled on this one."""
        if not isinstance(self.trust_region, SearchedTrustRegion):
            return self
        units = self.units(batch)
        ratio = self.ratio(batch, units).value.detach()
        return replace(self, trust_region=self.trust_region.fit(batch, units, ratio))

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """The loss and measurements of a batch; with `batch.totals` its share of the mini-batch's loss.

        Raises:
            ConfigError: an optional field that a part reads is missing.
        """
        terms = self._terms(batch)
        return ObjectiveOutput(loss=terms.loss(), diagnostics=_measure(batch, terms))

    def loss(self, batch: TokenBatch) -> Tensor:
        """[] the loss alone, for a loop that reads no measurements; errors as above."""
        return self._terms(batch).loss()

    def _terms(self, batch: TokenBatch) -> "_Terms":
        self._check_requirements(batch)
        batch = self.prepare(batch) if batch.level is None else batch
        units = self.units(batch)
        ratio = self.ratio(batch, units)
        surrogate = self.trust_region(batch, units, ratio.value)
        return _Terms(
            advantage=batch.token_advantage,
            ratio=ratio,
            surrogate=replace(surrogate, value=batch.by_importance(surrogate.value)),
            weight=self.aggregation(batch, units) * batch.token_weight,
            penalties=[part(batch, units) for part in self.regularizers],
        )

    def observed(self, batch: TokenBatch) -> "Objective":
        """The objective for the next rollout batch, its adaptive parts having seen this one."""
        return self._with({key: part.observed(batch) for key, part in self._adaptive()})

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep of the adaptive parts; empty where there are none."""
        return {f"{key}/{name}": one for key, part in self._adaptive() for name, one in part.state().items()}

    def restored(self, state: Mapping[str, Tensor]) -> "Objective":
        """The objective as it was when the state was kept."""
        parts = {}
        for key, part in self._adaptive():
            own = f"{key}/"
            kept = {name.removeprefix(own): one for name, one in state.items() if name.startswith(own)}
            parts[key] = part.restored(kept)
        return self._with(parts)

    def _adaptive(self) -> Iterator[tuple[str, AdaptivePart]]:
        """Yields the adaptive parts under names that tell them apart."""
        named: dict[str, object] = {f"regularizer{i}": one for i, one in enumerate(self.regularizers)}
        for key, part in ({"credit": self.credit} | named).items():
            if isinstance(part, AdaptivePart):
                yield key, part

    def _with(self, parts: Mapping[str, Any]) -> "Objective":
        regularizers = (parts.get(f"regularizer{i}", one) for i, one in enumerate(self.regularizers))
        return replace(self, credit=parts.get("credit", self.credit), regularizers=tuple(regularizers))

    def _check_requirements(self, batch: TokenBatch) -> None:
        missing = sorted(name for name in self.requires if getattr(batch, name) is None)
        if missing:
            raise ConfigError(
                f"this objective reads TokenBatch.{', TokenBatch.'.join(missing)}, which is missing"
            )


def _group_mean(batch: TokenBatch) -> Tensor | None:
    """[R] mean reward of the verified responses to the same prompt, where rewards and groups are known."""
    if batch.reward is None or batch.group is None:
        return None
    centred = centre(*batch.outcomes())
    return centred.mean[centred.group]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Terms:
    """What the parts made of a batch, before the sum over tokens."""

    advantage: Tensor
    """[T]."""
    ratio: Ratio
    surrogate: Surrogate
    """Its values weighted by c."""
    weight: Tensor
    """[T] w."""
    penalties: Sequence[Penalty]

    def loss(self) -> Tensor:
        """[] −J."""
        value = self.surrogate.value
        for penalty in self.penalties:
            value = value - penalty.value
        return -(self.weight * value).sum()


@torch.no_grad()
def _measure(batch: TokenBatch, terms: _Terms) -> Diagnostics:
    surrogate, ratio = terms.surrogate, terms.ratio
    removed_low = _either(surrogate.removed_low, ratio.removed_low)
    removed_high = _either(surrogate.removed_high, ratio.removed_high)
    removed = removed_low | removed_high
    trained = terms.advantage * terms.weight != 0
    claims = {"": removed, "_low": removed_low, "_high": removed_high}
    means: dict[str, Mean] = {
        **shares_among({f"clip_fraction{side}": claim for side, claim in claims.items()}, among=trained),
        "gradient_utilisation": share_of(trained & ~removed),
        "ratio_mean": mean_of(ratio.value),
        "approx_kl": mean_of(k3(log_ratio(batch))),
    }
    for diagnostics in (surrogate.diagnostics, *(penalty.diagnostics for penalty in terms.penalties)):
        means.update(diagnostics)
    return Diagnostics(means=means, maxima={"ratio_max": ratio.value.max()})


def _either(one: Tensor, other: Tensor | None) -> Tensor:
    return one if other is None else one | other
