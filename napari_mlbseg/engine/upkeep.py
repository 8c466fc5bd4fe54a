"""What is due between two optimiser steps: publishing, scoring, logging, saving."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from napari_mlbseg.engine.brake import Brake, brake_for
from napari_mlbseg.engine.budget import Budget
from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.events import (
    CheckpointSaved,
    Event,
    LabelsStand,
    Stage,
    StepDone,
)
from napari_mlbseg.engine.guard import Guard
from napari_mlbseg.engine.imported import ImportedLabels
from napari_mlbseg.engine.publisher import Publisher
from napari_mlbseg.engine.steps.meta_weights import SCORES
from napari_mlbseg.engine.training import Trainer
from napari_mlbseg.project.slices import SliceKey
from napari_mlbseg.project.study import Study

CHECKPOINT_EVERY_S = 60.0
SCORE_EVERY_STEPS = 25
COMPARE_EVERY_STEPS = 100
"""With the imported labels, on slices that taught: where hardly any is held back."""
FOCUS_EVERY_S = 1.0
LOG_EVERY_S = 2.0
DIRECTION_EVERY_STEPS = 25
YOUNGEST_STEPS = 50
LONGEST_SHARE = 0.25
"""Of the time, for the slice on view: in 3-D it takes seconds on a CPU."""


class Upkeep:
    """Keeps the study up to date with the trainer without taking much of its time."""

    def __init__(
        self, study: Study, config: Config, trainer: Trainer, budget: Budget, *, run_id: int
    ) -> None:
        self._study, self._config, self._trainer, self._run_id = study, config, trainer, run_id
        self._budget = budget
        self.publisher = Publisher(
            study,
            trainer.source,
            trainer.model,
            views=trainer.prediction_views,
            weigh=SCORES.get(config.weights),
        )
        brake = brake_for(study, keep_labels=self._keep_labels)
        self._imported = ImportedLabels(study, trainer, brake.imported) if brake.imported else None
        self._guard = Guard(trainer, self._imported)
        self._read_brake()
        self._told_that_labels_stand = False
        self._began = budget.now()
        self._publishing_s = 0.0
        self._last = {"checkpoint": time.perf_counter()}
        self._took_s: dict[str, float] = {}
        self._direction: tuple[int, Mapping[str, Tensor]] | None = None

    def look_at(self, key: SliceKey | None) -> None:
        """Another slice is on view: it is due at once."""
        if key != self.publisher.focus:
            self.publisher.focus = key
            self._last.pop("focus", None)

    def clean_set_changed(self) -> None:
        """The clean slices are others: weigh anew, beginning with the slice on view."""
        self._read_brake()
        self.forget_direction()
        self._last.pop("focus", None)

    def forget_direction(self) -> None:
        """Find out anew, before the next weight maps, what the clean slices ask for."""
        self._direction = None

    def before_step(self, stage: Stage) -> Iterator[Event]:
        """The slice on view, about once a second, and whenever it or the clean set is another one.

        Before the step, not after it: whoever has just accepted a slice waits for this.
        """
        focused = self.publisher.focused_slice()
        if stage is not Stage.BOOTSTRAPPING or focused is None:
            return
        if self._due("focus", FOCUS_EVERY_S):
            event = self.publish(focused, step=self._trainer.state.total, hasty=True)
            self._ended("focus")
            yield event

    def after_step(self, stage: Stage, progress: StepDone | None, *, last: bool) -> Iterator[Event]:
        """All that is due after a step of training."""
        if progress is not None:
            yield progress
            if self._due("log", LOG_EVERY_S):
                self._log(progress.losses)
        if stage is Stage.BOOTSTRAPPING:  # a base model in the making is worse than rough labels
            yield from self._publish_some()
        # Counted in steps: what is shown shall not depend on the clock.
        if self._trainer.held_back and (last or self._trainer.state.step % SCORE_EVERY_STEPS == 0):
            yield from self._score(stage)
        if stage is Stage.BOOTSTRAPPING:
            yield from self._compare(anew=self._trainer.state.step % COMPARE_EVERY_STEPS == 0)
        if self._due("checkpoint", CHECKPOINT_EVERY_S):
            yield self.save()

    def judge(self, stage: Stage) -> Iterator[Event]:
        """Find out what is to be shown of a model that has changed since it was last scored."""
        if self._trainer.held_back:
            yield from self._score(stage)
        yield from self._compare(anew=True)

    def put_back(self, span: Span, *, step: int) -> Event | None:
        """Write the imported labels where they stand, without asking the network."""
        self.publisher.brake = self._brake_in_force()
        return self.publisher.put_back(span, step=step)

    def publish(self, span: Span, *, step: int, hasty: bool = False) -> Event:
        """Write predictions of some slices and, where asked, their weights."""
        began = self._budget.now()
        self.publisher.largest_of_right = self._trainer.largest_of_right
        self.publisher.brake = self._brake_in_force()
        event = self.publisher.publish(
            span,
            parameters=self._guard.parameters,
            direction=self._clean_direction() if self.publisher.weigh else None,
            step=step,
            hasty=hasty,
        )
        seconds = self._budget.now() - began
        self._publishing_s += seconds
        if span in self.publisher.spans_of(span.case):  # a single slice takes longer, for a slice
            self._budget.published(
                span.stop - span.start,
                seconds,
                share=self.publisher.share_of_passes(hasty=hasty),
            )
        return event

    def save(self) -> CheckpointSaved:
        """Write a checkpoint."""
        self._trainer.save()
        return CheckpointSaved(str(self._study.checkpoint_path), self._trainer.state.total)

    def _publish_some(self) -> Iterator[Event]:
        """The slices that are the most out of date, within their share of the time."""
        step = self._trainer.state.total
        if self._publishing_s < self._config.publish_share * (self._budget.now() - self._began):
            span = self.publisher.stalest_span(step, youngest=YOUNGEST_STEPS)
            if span is not None:
                yield self.publish(span, step=step, hasty=True)

    def _clean_direction(self) -> Mapping[str, Tensor]:
        step = self._trainer.state.total
        if self._direction is None or step - self._direction[0] >= DIRECTION_EVERY_STEPS:
            self._direction = step, self._trainer.direction()
        return self._direction[1]

    def _score(self, stage: Stage) -> Iterator[Event]:
        scored = self._guard.score(stage)
        if scored is not None:
            self._log({"held-back dice": scored.dice})
            never, slices = self._brake.counts()
            yield replace(scored, never_looked_at=never, slices=slices)

    def _compare(self, *, anew: bool) -> Iterator[Event]:
        """Tell when imported labels begin or cease to stand; now and then, find it out `anew`."""
        if anew:
            self._guard.compare_with_imported()
        stand = self._guard.labels_stand
        if stand != self._told_that_labels_stand:
            self._told_that_labels_stand = stand
            yield LabelsStand(stand)

    @property
    def _keep_labels(self) -> bool:
        """Labels that are to be left out altogether are not kept either."""
        return self._config.weights != "none"

    def _read_brake(self) -> None:
        found = brake_for(self._study, keep_labels=self._keep_labels)
        if self._imported is not None:
            found = replace(found, smallest_of_nonsense=self._imported.smallest_of_nonsense())
        self._brake = self.publisher.brake = found

    def _brake_in_force(self) -> Brake:
        return replace(self._brake, everywhere=self._guard.labels_stand)

    def _log(self, values: Mapping[str, float]) -> None:
        self._study.log_metrics(self._run_id, self._trainer.state.total, values)

    def _due(self, what: str, every_s: float) -> bool:
        """Whether it is time again; what takes long waits for longer than `every_s`."""
        now = time.perf_counter()
        wait_s = max(every_s, self._took_s.get(what, 0.0) / LONGEST_SHARE)
        if now - self._last.get(what, -math.inf) < wait_s:
            return False
        self._last[what] = now
        return True

    def _ended(self, what: str) -> None:
        self._took_s[what] = time.perf_counter() - self._last[what]
