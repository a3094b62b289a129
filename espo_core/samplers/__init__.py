"""Which prompts are asked, and which of their responses are trained on."""

from espo_contracts.rollout import RolloutSpec
from espo_core.samplers.base import PromptSampler, SamplerState
from espo_core.samplers.curriculum import CurriculumSampler
from espo_core.samplers.shuffled import ShuffledSampler

__all__ = ["PromptSampler", "SamplerState", "build_sampler"]


def build_sampler(spec: RolloutSpec, *, prompts: int, seed: int) -> PromptSampler:
    """The sampler of a job, over data of so many prompts."""
    if spec.curriculum is None:
        return ShuffledSampler(prompts, seed=seed)
    return CurriculumSampler(prompts, spec=spec.curriculum, seed=seed)
