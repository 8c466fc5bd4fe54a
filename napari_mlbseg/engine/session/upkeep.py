"""What is due between two optimiser steps: publishing, scoring, logging, saving."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.events import (
    CheckpointSaved,
    Event,
    ImportedLabelsKept,
    SlicesPublished,
    Stage,
    StepDone,
)
from napari_mlbseg.engine.interruption import Check, CutOffError, never
from napari_mlbseg.engine.predictions.brake import Brake, brake_for
from napari_mlbseg.engine.predictions.publisher import Publisher
from napari_mlbseg.engine.session.budget import Budget
from napari_mlbseg.engine.session.guard import Guard
from napari_mlbseg.engine.session.imported import ImportedLabels
from napari_mlbseg.engine.training.finite import require_finite
from napari_mlbseg.engine.training.trainer import Trainer
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study

CHECKPOINT_EVERY_S = 60.0
SCORE_EVERY_STEPS = 25
COMPARE_EVERY_STEPS = 100
"""With the imported labels, on training slices: where there is hardly another."""
FOCUS_EVERY_S = 1.0
LOG_EVERY_S = 2.0
DIRECTION_EVERY_STEPS = 25
YOUNGEST_STEPS = 50
LONGEST_SHARE = 0.25
"""Of the time, for the slice on view: in 3-D it takes seconds on a CPU."""


Work = Callable[[], Event | None]
"""A piece of work, and what it tells; cut off by a `CutOffError` it can begin anew."""


class Upkeep:
    """Keeps the study up to date with the trainer without taking much of its time.

    Nothing leaves that is made of numbers that are not finite: `UnstableError` is raised instead.
    """

    def __init__(
        self,
        study: Study,
        config: Config,
        trainer: Trainer,
        budget: Budget,
        *,
        run_id: int,
        check: Check = never,
    ) -> None:
        self._study, self._config, self._trainer, self._run_id = study, config, trainer, run_id
        self._budget = budget
        self.publisher = Publisher(
            study,
            trainer.source,
            trainer.model,
            views=trainer.prediction_views,
            weigh=trainer.weighting.scores,
            check=check,
        )
        self._brake = brake_for(study, keep_labels=self._keep_labels)
        names = self._brake.imported
        self._imported = ImportedLabels(trainer, names) if names else None
        self._guard = Guard(trainer, self._imported)
        self._told_that_they_are_kept = False
        self._began = budget.now()
        self._publishing_s = 0.0
        self._last = {"checkpoint": self._budget.now()}
        self._took_s: dict[str, float] = {}
        self._direction: tuple[int, Mapping[str, Tensor]] | None = None

    def look_at(self, key: SliceKey | None) -> None:
        """Another slice is on view: it is due at once."""
        if key != self.publisher.focus:
            self.publisher.focus = key
            self._last.pop("focus", None)

    def clean_slices_changed(self) -> None:
        """The clean slices are others: weigh anew, beginning with the slice on view."""
        self._read_brake()
        self.forget_direction()
        self._last.pop("focus", None)

    def forget_direction(self) -> None:
        """Find out anew, before the next weight maps, what the clean slices ask for."""
        self._direction = None

    def gone_back(self) -> None:
        """The network is another one: publish everything anew."""
        self.forget_direction()
        self.publisher.forget()
        self._last.pop("focus", None)

    def before_step(self, stage: Stage) -> Iterator[Event]:
        """The slice on view, about once a second, and whenever it changes or the clean slices do.

        Before the step, not after it: whoever has just accepted a slice waits for this.
        """
        focused = self.publisher.focused_slice()
        if stage is not Stage.BOOTSTRAPPING or focused is None:
            return
        if self._due("focus", FOCUS_EVERY_S):
            try:
                event = self.publish(
                    focused, step=self._trainer.state.total, identity_view_only=True
                )
            except CutOffError:
                self._last.pop("focus")
                raise
            self._ended("focus")
            yield event

    def log(self, progress: StepDone) -> None:
        """Note how the losses are, now and then."""
        if self._due("log", LOG_EVERY_S):
            self._log(progress.losses)

    def after_step(self, stage: Stage, *, last: bool) -> Iterator[Work]:
        """All that is due after a step of training but for publishing, one after the other."""
        scored = self._owes_score(last=last)
        if scored:
            yield partial(self._score, stage)
        if stage is Stage.BOOTSTRAPPING:
            anew = self._trainer.state.step % COMPARE_EVERY_STEPS == 0
            yield partial(self._compare, anew=anew)
        if self._due("checkpoint", CHECKPOINT_EVERY_S) or (
            scored and self._trainer.memory.is_best and self._due("best", CHECKPOINT_EVERY_S)
        ):
            yield self.save

    def before_first_step(self, stage: Stage, *, last: bool) -> Iterator[Work]:
        """What a run that was stopped still owes to its last step, `last` of the stage or not."""
        if self._trainer.state.step and self._owes_score(last=last):
            yield partial(self._score, stage)

    def judge(self, stage: Stage) -> Iterator[Work]:
        """Find out what is to be shown of a model that has changed since it was last scored."""
        if self._owes_score(last=True):
            yield partial(self._score, stage)
        yield partial(self._compare, anew=True)

    def put_back(self, span: Span, *, step: int) -> Event | None:
        """Write the imported labels where they stand, without asking the network."""
        self.publisher.brake = self._brake_in_force()
        return self.publisher.put_back(span, step=step)

    def publish(
        self, span: Span, *, step: int, identity_view_only: bool = False
    ) -> SlicesPublished:
        """Write predictions of some slices and, where asked, their weights."""
        began = self._budget.now()
        self.publisher.largest_of_right = self._trainer.largest_of_right
        self.publisher.brake = self._brake_in_force()
        require_finite(self._guard.parameters, "the network")
        try:
            event = self.publisher.publish(
                span,
                parameters=self._guard.parameters,
                direction=self._clean_direction() if self.publisher.weigh else None,
                step=step,
                identity_view_only=identity_view_only,
            )
        finally:
            seconds = self._budget.now() - began
            self._publishing_s += seconds
        whole = event.stop == span.stop
        if whole and span in self.publisher.spans_of(span.case):  # a lone slice takes longer
            share = self.publisher.share_of_passes(identity_view_only=identity_view_only)
            self._budget.published(span.stop - span.start, seconds, share=share)
        return event

    def write_initial_labels(self, span: Span) -> SlicesPublished:
        """Write predictions of the base model as initial labels."""
        parameters = self._trainer.parameters
        require_finite(parameters, "the base model")
        return self.publisher.write_initial_labels(span, parameters, step=self._trainer.state.total)

    def save(self) -> CheckpointSaved:
        """Write a checkpoint."""
        self._trainer.save()
        return CheckpointSaved(str(self._study.checkpoint_path), self._trainer.state.total)

    def publish_some(self) -> Event | None:
        """The slices that are the most out of date, within their share of the time."""
        step = self._trainer.state.total
        if self._publishing_s < self._config.publish_share * (self._budget.now() - self._began):
            span = self.publisher.stalest_span(step, youngest=YOUNGEST_STEPS)
            if span is not None:
                return self.publish(span, step=step, identity_view_only=True)
        return None

    def _clean_direction(self) -> Mapping[str, Tensor]:
        step = self._trainer.state.total
        if self._direction is None or step - self._direction[0] >= DIRECTION_EVERY_STEPS:
            self._direction = step, self._trainer.direction()
        return self._direction[1]

    def _owes_score(self, *, last: bool) -> bool:
        """Counted in steps: what is shown shall not depend on the clock."""
        state = self._trainer.state
        due = last or state.step % SCORE_EVERY_STEPS == 0
        return bool(self._trainer.validation_slices) and due and state.scored != state.total

    def _score(self, stage: Stage) -> Event | None:
        require_finite(self._trainer.parameters, "the network")
        scored = self._guard.score(stage)
        if scored is not None:
            self._log({"validation dice": scored.dice})
        if scored is None:
            return None
        self._log({"validation dice": scored.dice})
        never_looked_at, slices = self._brake.counts()
        return replace(scored, never_looked_at=never_looked_at, slices=slices)

    def _compare(self, *, anew: bool) -> ImportedLabelsKept | None:
        """Tell when imported labels begin or cease to stand; now and then, find it out `anew`."""
        if anew:
            self._guard.compare_with_imported()
        stand = self._guard.imported_labels_kept
        if stand == self._told_that_they_are_kept:
            return None
        self._told_that_they_are_kept = stand
        return ImportedLabelsKept(stand)

    @property
    def _keep_labels(self) -> bool:
        """Labels that are to be left out altogether are not kept either."""
        return self._trainer.weighting.learns_labels

    def _read_brake(self) -> None:
        found = brake_for(self._study, keep_labels=self._keep_labels)
        if self._imported is not None:
            found = replace(found, smallest_of_nonsense=self._imported.smallest_of_nonsense())
        self._brake = found

    def _brake_in_force(self) -> Brake:
        return replace(self._brake, everywhere=self._guard.imported_labels_kept)

    def _log(self, values: Mapping[str, float]) -> None:
        self._study.log_metrics(self._run_id, self._trainer.state.total, values)

    def _due(self, what: str, every_s: float) -> bool:
        """Whether it is time again; what takes long waits for longer than `every_s`."""
        now = self._budget.now()
        wait_s = max(every_s, self._took_s.get(what, 0.0) / LONGEST_SHARE)
        if now - self._last.get(what, -math.inf) < wait_s:
            return False
        self._last[what] = now
        return True

    def _ended(self, what: str) -> None:
        self._took_s[what] = self._budget.now() - self._last[what]
