"""The rounds of a training: optimiser steps, and the work that is due around each of them."""

import math
from collections.abc import Callable, Generator, Iterator, Mapping

from torch import Tensor

from napari_mlbseg.engine.events import (
    BatchShrunk,
    CheckpointSaved,
    Event,
    OnlyCleanSlicesLeft,
    Stage,
    StageStarted,
    StepDone,
)
from napari_mlbseg.engine.interruption import CutOffError
from napari_mlbseg.engine.nets.device import is_out_of_memory
from napari_mlbseg.engine.session.parts import Parts
from napari_mlbseg.engine.training.finite import UnstableError
from napari_mlbseg.errors import UserError

LAST_LEARNING_RATE_SHARE = 0.02

NONE_OPEN = (
    "Every slice is clean or skipped: no rough labels are left to learn from. The training "
    "continues with the training slices alone."
)
NONE_LOOKED_AT = (
    "No open slice lies between clean slices, so no rough label can be trusted to learn from. The "
    "training continues with the training slices alone. Correct slices further apart, and mark "
    "where the structures begin and end."
)

Step = Callable[..., Mapping[str, Tensor]]


class Learning:
    """Trains one round after the other; keeps a little memory across rounds."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._gave_way = self._only_clean = False

    def round(self) -> Iterator[Event]:
        """Train the current round until its steps are done, its time is up, or a stop."""
        parts, state, course = self._parts, self._parts.trainer.state, self._parts.trainer.course
        stage, steps = state.stage, course.rounds[state.round].steps
        later_steps = course.steps_after(state.round + 1)
        step = parts.trainer.base_step
        if stage is Stage.BOOTSTRAPPING:
            step = parts.trainer.bootstrap_step
            parts.trainer.labelling.read()
        yield StageStarted(stage, steps)
        parts.pace.restart()
        parts.budget.begin_round()
        for work in parts.upkeep.before_first_step(stage, last=state.step == steps):
            yield from parts.between.heeding(work)
        while state.step < steps:
            yield from parts.between.steps()
            done = max(state.step / steps, parts.budget.share_of(stage))
            if parts.attention.stop or done >= 1:
                break
            try:
                losses = yield from self._one_step(stage, step, done)
            except CutOffError:
                continue
            yield from self._told(
                parts.pace.step_done(
                    losses, stage=stage, step=state.step, steps=steps, later_steps=later_steps
                )
            )
            yield from self._after_step(stage, last=state.step == steps)
        if state.step < steps and not parts.attention.stop:  # the time ran out
            for work in parts.upkeep.judge(stage):
                yield from parts.between.heeding(work)

    def _one_step(
        self, stage: Stage, step: Step, done: float
    ) -> Generator[Event, None, Mapping[str, Tensor]]:
        """Publish the slice on view, then take a step.

        `done` is the share of the round that is done, from 0 to 1.
        """
        if stage is Stage.BOOTSTRAPPING:
            yield from self._tell_what_is_left()
        yield from self._parts.showing.before_step(stage)
        rate = self._parts.trainer.learning_rate * cosine(done)
        return (yield from self._try(step, rate))

    def _told(self, progress: StepDone | None) -> Iterator[Event]:
        if progress is not None:
            _require_finite_losses(progress)
            trainer = self._parts.trainer
            labellings = len(trainer.course.rounds) - trainer.state.round - 1
            progress = self._parts.budget.within(progress, labellings=labellings)
            yield progress
            self._parts.upkeep.log(progress)

    def _after_step(self, stage: Stage, *, last: bool) -> Iterator[Event]:
        if stage is Stage.BOOTSTRAPPING:  # an unfinished base model is worse than initial labels
            yield from self._publish_in_background()
        for work in self._parts.upkeep.after_step(stage, last=last):
            for event in self._parts.between.heeding(work):
                if isinstance(event, CheckpointSaved):
                    self._parts.recovery.saved()
                yield event

    def _publish_in_background(self) -> Iterator[Event]:
        """Publish some slices; a slice just accepted interrupts this, but not twice in a row."""
        showing = self._parts.showing
        event: Event | None = None
        try:
            if self._gave_way:
                self._gave_way = False
                event = showing.publish_some()
            else:
                with self._parts.attention.giving_way():
                    event = showing.publish_some()
        except CutOffError:
            self._gave_way = True
        if event is not None:
            yield event

    def _tell_what_is_left(self) -> Iterator[Event]:
        """Report, once, that the training slices are all that is left to learn from."""
        before = self._only_clean
        source = self._parts.trainer.source
        self._only_clean = not source.has_open_slices
        if self._only_clean and not before:
            is_open = source.clean.open_cases(self._parts.study.cases)
            yield OnlyCleanSlicesLeft(NONE_LOOKED_AT if is_open else NONE_OPEN)

    def _try(
        self, step: Step, learning_rate: float
    ) -> Generator[Event, None, Mapping[str, Tensor]]:
        """Take a step; if memory runs out, shrink the batch until the step fits.

        An interrupted step leaves everything as it was, including the random generator.
        """
        trainer = self._parts.trainer
        state, device = trainer.state, trainer.device
        randomness = state.generator.get_state()
        while True:
            try:
                return step(learning_rate=learning_rate)
            except CutOffError:
                state.generator.set_state(randomness)
                raise
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if state.batch == 1:
                    raise UserError(
                        f"{device} has too little memory for a single {trainer.source.unit}. "
                        "Choose a smaller slice size, a smaller network or another device."
                    ) from error
            trainer.shrink()
            yield BatchShrunk(
                state.batch, f"Out of memory: continuing with a batch of {state.batch}."
            )


def cosine(done: float) -> float:
    """Factor on the learning rate after a share `done` (0 to 1) of a round."""
    wave = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return LAST_LEARNING_RATE_SHARE + (1 - LAST_LEARNING_RATE_SHARE) * wave


def _require_finite_losses(progress: StepDone) -> None:
    broken = [name for name, value in progress.losses.items() if not math.isfinite(value)]
    if broken:
        raise UnstableError(f"the loss of {', '.join(broken)}")
