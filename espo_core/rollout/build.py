"""The engine that a job asks for."""

from __future__ import annotations

import os

from espo_contracts.job import JobSpec
from espo_core.errors import ConfigError
from espo_core.policy import Policy
from espo_core.rollout.engine import RolloutEngine
from espo_core.rollout.native import NativeEngine


def build_engine(spec: JobSpec, policy: Policy) -> RolloutEngine:
    """An engine that samples by the policy.

    Raises:
        ConfigError: this worker cannot sample so, or the job asks for what the engine cannot do.
    """
    if spec.rollout.engine == "native":
        return NativeEngine(policy=policy)
    _check(spec)
    # Imports an HTTP client that the native engine has no use for.
    from espo_core.rollout.vllm.colocated import colocated
    from espo_core.rollout.vllm.engine import VllmEngine
    from espo_core.rollout.vllm.server import server_at
    from espo_core.rollout.vllm.settings import settings_of

    settings = settings_of(os.environ)
    if settings.url is not None and settings.folder is not None:
        return VllmEngine(policy=policy, backend=server_at(str(settings.url), settings.folder))
    longest = spec.data.max_prompt_tokens + spec.rollout.max_new_tokens
    return VllmEngine(policy=policy, backend=colocated(policy, memory=settings.memory, max_tokens=longest))


def trained_engine(spec: JobSpec, policy: Policy) -> RolloutEngine:
    """An engine for the policy that is trained: the job's own, unless that samples ahead by a copy.

    Raises:
        ConfigError: as above.
    """
    return NativeEngine(policy=policy) if spec.rollout.max_staleness else build_engine(spec, policy)


def _check(spec: JobSpec) -> None:
    """Raise ConfigError where vLLM alone cannot tell the old policy."""
    rollout = spec.rollout
    cuts = rollout.top_p < 1 or rollout.top_k > 0 or rollout.min_new_tokens > 0
    if rollout.mismatch_correction is None and (cuts or rollout.max_staleness):
        raise ConfigError(
            "with rollout.engine vllm, top_p, top_k, min_new_tokens and max_staleness need "
            "rollout.mismatch_correction: vLLM tells log-probabilities after the cut, and no entropies",
            hint="Set rollout.mismatch_correction, leave those fields out, or use rollout.engine native.",
        )
    if spec.resources.devices > 1:
        raise ConfigError(
            "rollout.engine vllm works with resources.devices 1",
            hint="Use one device, or rollout.engine native.",
        )
