"""What is due between two optimiser steps: publishing, scoring, logging, saving."""

import math
import time
from collections.abc import Iterator, Mapping

from torch import Tensor

from napari_mlbseg.engine.config import Config
from napari_mlbseg.engine.data.source import Span
from napari_mlbseg.engine.events import (
    CheckpointSaved,
    Event,
    Stage,
    StepDone,
)
from napari_mlbseg.engine.guard import Guard
from napari_mlbseg.engine.publisher import Publisher
from napari_mlbseg.engine.steps.meta_weights import SCORES
from napari_mlbseg.engine.training import Trainer
from napari_mlbseg.project.slices import SliceKey
from napari_mlbseg.project.study import Study

CHECKPOINT_EVERY_S = 60.0
SCORE_EVERY_STEPS = 25
FOCUS_EVERY_S = 1.0
LOG_EVERY_S = 2.0
DIRECTION_EVERY_STEPS = 25
YOUNGEST_STEPS = 50
LONGEST_SHARE = 0.25
"""Of the time, for the slice on view: in 3-D it takes seconds on a CPU."""


class Upkeep:
    """Keeps the study up to date with the trainer without taking much of its time."""

    def __init__(self, study: Study, config: Config, trainer: Trainer, *, run_id: int) -> None:
        self._study, self._config, self._trainer, self._run_id = study, config, trainer, run_id
        self.publisher = Publisher(
            study,
            trainer.source,
            trainer.model,
            views=trainer.prediction_views,
            weigh=SCORES.get(config.weights),
        )
        self._guard = Guard(trainer)
        self._began = time.perf_counter()
        self._publishing_s = 0.0
        self._last = {"checkpoint": self._began}
        self._took_s: dict[str, float] = {}
        self._direction: tuple[int, Mapping[str, Tensor]] | None = None

    def look_at(self, key: SliceKey | None) -> None:
        """Another slice is on view: it is due at once."""
        if key != self.publisher.focus:
            self.publisher.focus = key
            self._last.pop("focus", None)

    def clean_set_changed(self) -> None:
        """The clean slices are others: weigh anew, beginning with the slice on view."""
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
        if self._due("checkpoint", CHECKPOINT_EVERY_S):
            yield self.save()

    def publish(self, span: Span, *, step: int, hasty: bool = False) -> Event:
        """Write predictions of some slices and, where asked, their weights."""
        began = time.perf_counter()
        self.publisher.largest_of_right = self._trainer.largest_of_right
        event = self.publisher.publish(
            span,
            parameters=self._guard.parameters,
            direction=self._clean_direction() if self.publisher.weigh else None,
            step=step,
            hasty=hasty,
        )
        self._publishing_s += time.perf_counter() - began
        return event

    def save(self) -> CheckpointSaved:
        """Write a checkpoint."""
        self._trainer.save()
        return CheckpointSaved(str(self._study.checkpoint_path), self._trainer.state.total)

    def _publish_some(self) -> Iterator[Event]:
        """The slices that are the most out of date, within their share of the time."""
        step = self._trainer.state.total
        if self._publishing_s < self._config.publish_share * (time.perf_counter() - self._began):
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
            yield scored

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
