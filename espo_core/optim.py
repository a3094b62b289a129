"""AdamW with its schedule, and float32 master copies of weights that are kept in bfloat16."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from espo_contracts.spec import OptimiserSpec
from espo_core.distributed.replicas import SINGLE, Replicas, cut_like
from espo_core.errors import CheckpointError

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def learning_rate(spec: OptimiserSpec, *, step: int, steps: int) -> float:
    """The learning rate of a step (counted from 1) of `steps`.

    It rises linearly over the warm-up; then it is constant, or falls to 0 after the last step along a line or
    half a cosine.
    """
    if step <= spec.warmup_steps:
        return spec.learning_rate * step / spec.warmup_steps
    passed = (step - spec.warmup_steps - 1) / max(1, steps - spec.warmup_steps)
    if spec.schedule == "linear":
        return spec.learning_rate * (1 - passed)
    if spec.schedule == "cosine":
        return spec.learning_rate * 0.5 * (1 + math.cos(math.pi * passed))
    return spec.learning_rate


class Optimiser:
    """Updates named parameters from their gradients. What is cut among ranks is updated where it lies.

    A bfloat16 weight cannot hold an update of 1e-6: its update is made on a float32 copy and rounded back.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], spec: OptimiserSpec, replicas: Replicas = SINGLE
    ) -> None:
        self._spec, self._replicas = spec, replicas
        self._parameters = dict(parameters)
        self._masters = {
            name: one if one.dtype == torch.float32 else nn.Parameter(one.detach().float())
            for name, one in parameters.items()
        }
        self._adamw = torch.optim.AdamW(
            _decay_groups(self._masters, spec.weight_decay),
            lr=spec.learning_rate,
            betas=(spec.beta1, spec.beta2),
            fused=True,
        )
        self.zero_gradients()

    def zero_gradients(self) -> None:
        """Sets every gradient to zero; present, so that momentum moves a weight that got none."""
        for one in self._parameters.values():
            if one.grad is None:
                one.grad = torch.zeros_like(one)
        torch._foreach_zero_([one.grad for one in self._parameters.values() if one.grad is not None])

    def update(self, rate: float) -> float:
        """Takes a step at a learning rate, all ranks together; returns the gradient norm before clipping."""
        self._replicas.reduce(list(self._parameters.values()))
        self._to_masters()
        norm = nn.utils.clip_grad_norm_(self._masters.values(), self._spec.max_gradient_norm)
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        self._from_masters()
        self.zero_gradients()
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs: `exp_avg/<parameter>` and so on, and `master/<parameter>`."""
        state = {
            f"{moment}/{name}": self._moments(name)[moment] for name in self._masters for moment in MOMENTS
        }
        masters = {
            f"master/{name}": one.detach() for name, one in self._masters.items() if self._is_copy(name)
        }
        return state | masters

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continues from a saved state.

        Raises:
            CheckpointError: it is not one of these parameters.
        """
        check_tensors(state, self.state(), what="optimiser state")
        for name, one in self._masters.items():
            if self._is_copy(name):
                with torch.no_grad():
                    one.copy_(cut_like(state[f"master/{name}"], one))
            fresh = self._moments(name)
            self._adamw.state[one] = {
                moment: cut_like(state[f"{moment}/{name}"], fresh[moment]) for moment in MOMENTS
            }

    def _moments(self, name: str) -> dict[str, Tensor]:
        one = self._masters[name]
        return self._adamw.state.get(one) or {
            "exp_avg": torch.zeros_like(one),
            "exp_avg_sq": torch.zeros_like(one),
            "step": torch.zeros((), dtype=torch.float32, device=one.device),
        }

    def _is_copy(self, name: str) -> bool:
        return self._masters[name] is not self._parameters[name]

    @torch.no_grad()
    def _to_masters(self) -> None:
        for name in filter(self._is_copy, self._masters):
            grad = self._parameters[name].grad
            self._masters[name].grad = None if grad is None else grad.float()

    @torch.no_grad()
    def _from_masters(self) -> None:
        for name in filter(self._is_copy, self._masters):
            self._parameters[name].copy_(self._masters[name])


def check_tensors(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, what: str) -> None:
    """Raise CheckpointError unless names, shapes and types agree."""
    wrong = sorted(given.keys() ^ expected.keys())
    wrong += [
        name
        for name in sorted(given.keys() & expected.keys())
        if given[name].shape != expected[name].shape or given[name].dtype != expected[name].dtype
    ]
    if wrong:
        raise CheckpointError(
            f"the checkpoint's {what} does not fit this model: {', '.join(wrong[:5])}"
            + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""),
            hint="Resume with the model and LoRA settings that the run was started with.",
        )


def _decay_groups(parameters: Mapping[str, nn.Parameter], decay: float) -> list[dict[str, object]]:
    """Matrices decay; norms and biases do not."""
    matrices = [one for one in parameters.values() if one.ndim >= 2]
    others = [one for one in parameters.values() if one.ndim < 2]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
