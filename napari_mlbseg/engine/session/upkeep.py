"""Work between two optimiser steps other than publishing: scoring, logging, saving."""

import math
from collections.abc import Callable, Iterator
from functools import partial

from napari_mlbseg.engine.events import (
    CheckpointSaved,
    Event,
    ImportedLabelsKept,
    Stage,
    StepDone,
)
from napari_mlbseg.engine.forecast import (
    DICE_ERROR,
    TRAINING_SLICES,
    VALIDATION_DICE,
    VALIDATION_SLICES,
)
from napari_mlbseg.engine.session.braking import Braking
from napari_mlbseg.engine.session.journal import Journal
from napari_mlbseg.engine.session.timer import Timer
from napari_mlbseg.engine.training.finite import require_finite
from napari_mlbseg.engine.training.trainer import Trainer

CHECKPOINT_EVERY_S = 60.0
SCORE_EVERY_STEPS = 25
COMPARE_EVERY_STEPS = 100
"""Steps between comparisons with the imported labels on training slices."""
LOG_EVERY_S = 2.0


Work = Callable[[], Event | None]
"""A piece of work that returns its event; interrupted by a `CutOffError`, it can start over."""


class Upkeep:
    """Scores, logs and saves a training without taking much of its time.

    Raises `UnstableError` instead of scoring or saving anything with non-finite numbers.
    """

    def __init__(
        self, trainer: Trainer, braking: Braking, journal: Journal, clock: Callable[[], float]
    ) -> None:
        self._trainer, self._braking, self._journal = trainer, braking, journal
        self._reported_kept = False
        self._timer = Timer(clock)
        self._timer.begin("checkpoint")

    def log(self, progress: StepDone) -> None:
        """Log the losses every few seconds."""
        if self._timer.due("log", LOG_EVERY_S):
            self._journal.note(self._trainer.state.total, progress.losses)

    def after_step(self, stage: Stage, *, last: bool) -> Iterator[Work]:
        """The work that is due after a training step, except for publishing."""
        scored = self._owes_score(last=last)
        if scored:
            yield partial(self._score, stage)
        if stage is Stage.BOOTSTRAPPING:
            anew = self._trainer.state.step % COMPARE_EVERY_STEPS == 0
            yield partial(self._compare, anew=anew)
        if self._timer.due("checkpoint", CHECKPOINT_EVERY_S) or (
            scored and self._trainer.memory.is_best and self._timer.due("best", CHECKPOINT_EVERY_S)
        ):
            yield self.save

    def before_first_step(self, stage: Stage, *, last: bool) -> Iterator[Work]:
        """The scoring that a stopped run still owes for its last step.

        `last` says whether that was the last step of the stage.
        """
        if self._trainer.state.step and self._owes_score(last=last):
            yield partial(self._score, stage)

    def judge(self, stage: Stage) -> Iterator[Work]:
        """Score a model that has changed since."""
        if self._owes_score(last=True):
            yield partial(self._score, stage)

    def decide_on_imported(self) -> ImportedLabelsKept | None:
        """Find out whether imported labels are kept: before a labelling, and at the end.

        So a resumed run decides as one that was never stopped.
        """
        return self._compare(anew=True)

    def save(self) -> CheckpointSaved:
        """Write a checkpoint."""
        self._trainer.save()
        return CheckpointSaved(str(self._trainer.memory.latest), self._trainer.state.total)

    def _owes_score(self, *, last: bool) -> bool:
        """Whether a score is due; counted in steps, so that the clock does not affect results."""
        state = self._trainer.state
        due = last or state.step % SCORE_EVERY_STEPS == 0
        return bool(self._trainer.validation_slices) and due and state.scored != state.total

    def _score(self, stage: Stage) -> Event | None:
        require_finite(self._trainer.parameters, "the network")
        scored = self._braking.guard.score(stage)
        if scored is None:
            return None
        error = math.nan if scored.uncertainty is None else scored.uncertainty
        values = {
            VALIDATION_DICE: scored.dice,
            DICE_ERROR: error,
            VALIDATION_SLICES: scored.validation_slices,
            TRAINING_SLICES: len(self._trainer.training_slices),
        }
        self._journal.note(self._trainer.state.total, values)
        return scored

    def _compare(self, *, anew: bool) -> ImportedLabelsKept | None:
        """Report when imported labels start or stop being shown; `anew` compares again first."""
        guard = self._braking.guard
        if anew:
            guard.compare_with_imported()
        if guard.imported_labels_kept == self._reported_kept:
            return None
        self._reported_kept = guard.imported_labels_kept
        return ImportedLabelsKept(self._reported_kept)
