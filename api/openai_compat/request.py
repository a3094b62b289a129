"""The body of `POST /v1/fine_tuning/jobs`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, model_validator

from api.openai_compat.graders import GraderBody
from espo_contracts.part import Part

Auto = Literal["auto"]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 _.:/@-]{1,64}$")]
LabelValue = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00]*$")]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=16)]
Factor = Annotated[float, Field(gt=0, le=1e6)]


class Hyperparameters(Part):
    """`auto` and what is left out are ESPO's defaults."""

    batch_size: Auto | Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Prompts of a step."""
    n_epochs: Auto | Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Passes over the training rows."""
    learning_rate_multiplier: Auto | Factor | None = None
    """Times the default learning rate, 1e-6."""
    eval_interval: Auto | Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Steps between evaluations."""
    eval_samples: Auto | Annotated[int, Field(ge=1, le=1024)] | None = None
    """Responses drawn to each held-out prompt at an evaluation."""
    compute_multiplier: Auto | Annotated[float, Field(gt=0, le=100)] | None = None
    """Times the default number of responses to a prompt, 8."""
    reasoning_effort: Literal["default"] | None = None
    """Models here know of no other."""


class Reinforcement(Part):
    """How responses are rewarded."""

    grader: GraderBody
    hyperparameters: Hyperparameters = Hyperparameters()


class Method(Part):
    """Reinforcement is the one method of this server."""

    type: Literal["reinforcement"]
    reinforcement: Reinforcement


class CreateFineTuningJob(Part):
    """A fine-tuning job as OpenAI's clients send it, and beside it `espo`."""

    model: ShortText
    """A model of `GET /v1/models`, a hub model where the operator allows the hub, or the `fine_tuned_model`
    of an earlier job."""
    training_file: ShortText
    """Id of a file of `POST /v1/files`."""
    validation_file: None = None
    """Held-out rows are a share of `training_file`: see `espo.data.held_out`."""
    method: Method | None = None
    """May be left out where `espo` has a `reward`."""
    hyperparameters: Hyperparameters = Hyperparameters()
    """Deprecated; those of the method count."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    suffix: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """Name of the job."""
    metadata: Labels | None = None
    integrations: Annotated[list[JsonValue], Field(max_length=0)] | None = None
    """None are supported."""
    espo: Annotated[dict[str, JsonValue], Field(default_factory=dict, max_length=64)]
    """The rest of the job: a JSON merge patch (RFC 7396) of the JobSpec that the other fields make."""

    @model_validator(mode="after")
    def _is_rewarded(self) -> Self:
        if self.method is None and "reward" not in self.espo:
            raise ValueError('give method: {"type": "reinforcement", "reinforcement": {"grader": …}}')
        return self

    @property
    def chosen(self) -> Hyperparameters:
        """Hyperparameters of the method, and the deprecated ones where it has none."""
        older = self.hyperparameters.model_dump(exclude_none=True)
        if self.method is None:
            return self.hyperparameters
        newer = self.method.reinforcement.hyperparameters.model_dump(exclude_none=True)
        return Hyperparameters(**(older | newer))
