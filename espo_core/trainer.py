"""The loop: prompts, responses, rewards, advantages, update, report, checkpoint, and again.

This is the file to read to understand a run. What happens is told to `emit`; the trainer knows no service.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from espo_contracts.events import Checkpoint, Event, Log, finite
from espo_core.answers import Answers
from espo_core.checkpoint import TrainingState, save_checkpoint
from espo_core.distributed.replicas import gathered_tensors
from espo_core.experience import make_experience
from espo_core.objectives import advantages
from espo_core.optim import learning_rate
from espo_core.randomness import seed_everything
from espo_core.report import (
    Stopwatch,
    Turn,
    checkpoint_metrics,
    gathered_metrics,
    resource_metrics,
    sample_events,
)
from espo_core.samplers.dynamic import Gathered
from espo_core.samplers.pruned import pruned_weights
from espo_core.setup import Run, RunInputs, prepare_run, started

__all__ = ["RunInputs", "Trainer"]

# Log-probabilities of sampler and trainer differ by under 1e-5 in float32, and by 1e-2 in bfloat16.
LARGE_SAMPLER_GAP = 1e-4


class Trainer:
    """Runs a job, or what is left of it."""

    def __init__(self, inputs: RunInputs, emit: Callable[[Event], None]) -> None:
        self._inputs, self._spec, self._world = inputs, inputs.spec, inputs.world
        self._emit = emit if inputs.world.is_first else _tell_nobody

    def run(self) -> int:
        """Trains to the last step, or until it must stop; the number of the last step that is done and saved.

        Raises:
            EspoError: the run cannot go on; the error says why and what to do.
        """
        run = self._start()
        with run.rollouts.running(run.steps_done):
            is_over = self._is_over(run.steps_done)
            while not is_over:
                is_over = self._step(run, run.steps_done + 1)
        return run.steps_done

    def _is_over(self, step: int) -> bool:
        """Whether the run ends after this step; every rank learns what the first is told."""
        must_stop = self._world.is_first and self._inputs.must_stop()
        return step == self._spec.schedule.steps or bool(self._world.gathered(must_stop)[0])

    def _step(self, run: Run, step: int) -> bool:
        """Whether the run ends with it, which then is saved."""
        seed_everything(self._spec.seed, "step", step, *self._world.purpose)
        watch = Stopwatch()
        gathered = self._gather(run, step)
        turn = self._judge(run, gathered.kept, step)
        watch.lap("rollout")
        learned = self._learn(run, turn)
        run.rollouts.follow(step)
        watch.lap("update")
        metrics = gathered_metrics(gathered) | run.overlong.metrics(gathered.sampled.rollout)
        metrics |= turn.metrics() | learned | resource_metrics(gathered, watch, run.policy.device)
        metrics |= run.rollouts.metrics()
        self._report(run, turn, metrics)
        is_over, every = self._is_over(step), self._spec.schedule.checkpoint_every
        if is_over or (every and step % every == 0):
            self._save(run, step, metrics)
        run.steps_done = step
        return is_over

    def _start(self) -> Run:
        run = prepare_run(self._inputs)
        self._emit(started(run, self._spec))
        for note in run.data.notes:
            self._warn(note)
        if self._spec.schedule.evaluate_every and not run.steps_done:
            self._emit(finite(0, self._evaluated(run)))
        return run

    def _gather(self, run: Run, step: int) -> Gathered:
        gathered = run.rollouts.take(step)
        for warning in gathered.sampled.scored.warnings():
            self._warn(warning)
        return gathered

    def _judge(self, run: Run, answers: Answers, step: int) -> Turn:
        scored = run.overlong.applied(answers.scored, answers.rollout)
        rewards = scored.rewards()
        group = torch.arange(len(rewards)) // answers.group
        advantage = advantages(rewards, scored.verified(), group, run.objective.advantage_kind)
        return Turn(
            step=step,
            prompts=answers.prompts,
            rollout=answers.rollout,
            scored=scored,
            advantage=advantage,
            weight=self._pruned(advantage, step),
        )

    def _pruned(self, advantage: Tensor, step: int) -> Tensor | None:
        spec = self._spec.rollout.pruning
        return None if spec is None else pruned_weights(advantage, spec, seed=self._spec.seed, step=step)

    def _learn(self, run: Run, turn: Turn) -> dict[str, float]:
        rate = learning_rate(self._spec.optimiser, step=turn.step, steps=self._spec.schedule.steps)
        experience, measured = run.learner.completed(make_experience(run.policy, turn))
        learned = run.learner.learn(run.objective, experience, step=turn.step, rate=rate) | measured
        run.objective = run.objective.observed(experience.batch)
        if turn.step == 1 and learned["policy/sampler_gap"] > LARGE_SAMPLER_GAP:
            self._warn_of_gap(run, learned["policy/sampler_gap"])
        return learned | {"optimiser/learning_rate": rate}

    def _report(self, run: Run, turn: Turn, metrics: dict[str, float]) -> None:
        """Tells the step's samples and metrics, those of an evaluation that is due among them."""
        every, is_last = self._spec.schedule.evaluate_every, turn.step == self._spec.schedule.steps
        if is_last or (every and turn.step % every == 0):
            metrics |= self._evaluated(run)
        for sample in sample_events(turn, prompts=self._spec.schedule.samples_per_step):
            self._emit(sample)
        self._emit(finite(turn.step, metrics))

    def _save(self, run: Run, step: int, metrics: dict[str, float]) -> None:
        ahead = run.rollouts.state(step)
        state = TrainingState(step=step, seed=self._spec.seed, sampler=ahead.sampler, pending=ahead.pending)
        tensors = gathered_tensors(run.tensors() | ahead.tensors, self._world)
        with run.replicas.whole():
            if self._world.is_first:
                files = save_checkpoint(self._inputs.work_dir, run.policy, state, tensors, self._warn)
                told = finite(step, checkpoint_metrics(metrics))
                self._emit(Checkpoint(step=step, files=files, metrics=told.values))

    def _evaluated(self, run: Run) -> dict[str, float]:
        return run.evaluator.metrics(self._spec.schedule.evaluate_samples) if run.data.held_out else {}

    def _warn(self, message: str) -> None:
        self._emit(Log(level="warning", message=message))

    def _warn_of_gap(self, run: Run, gap: float) -> None:
        if run.objective.needs_equal_numerics and run.learner.correction is None:
            self._warn(
                f"log-probabilities of sampler and trainer differ by up to {gap:.1e}, which the narrow trust "
                "region of this algorithm takes for a change of the policy; use rollout.mismatch_correction, "
                "model.dtype float32, LoRA without dropout, or a larger epsilon_min"
            )


def _tell_nobody(event: Event) -> None:
    """The first rank tells what all of them did."""
