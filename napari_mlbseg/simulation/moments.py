"""What a user would see at some moments of a run: the labels as they would be exported then."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.engine.events import (
    Event,
    Finished,
    SlicesPublished,
    Stage,
    StageStarted,
    StepDone,
    ValidationScored,
)
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.clocks import StopWatch, Timing
from napari_mlbseg.simulation.scoring import exported

TRAINING = (Stage.BASE_MODEL, Stage.BOOTSTRAPPING)


@dataclass(frozen=True)
class Moment:
    """What there was when a mark had passed.

    Attributes
    ----------
    mark_min
        The mark in minutes; None for the end of the run.
    minutes
        When it was: at the first event after the mark, or at the end of a run that ended earlier.
    steps
        Optimiser steps until then.
    estimated_dice
        The last Dice on validation slices that the run told, by class value; empty without any.
    published_min
        When anything was published for the first time; None if nothing was so far.
    file
        The exported labels of all cases.
    """

    mark_min: float | None
    minutes: float
    steps: int
    estimated_dice: dict[int, float]
    published_min: float | None
    file: Path

    def labels(self) -> list[NDArray[np.uint8]]:
        """The exported labels (z y x), in the order of the study's cases."""
        with np.load(self.file) as kept:
            return [kept[name] for name in kept.files]


class Observer:
    """Listens to the events of a run and keeps its labels whenever a mark has passed.

    The labels are copied at once and measured after the run; meanwhile the watch stands still.
    """

    def __init__(self, study: Study, timing: Timing, watch: StopWatch, folder: Path) -> None:
        self._study, self._watch, self._folder = study, watch, folder
        self._due = list(timing.marks_min)
        self._began = watch.now()
        self._before = self._in_round = 0
        self._estimated: dict[int, float] = {}
        self._published_min: float | None = None
        self.moments: list[Moment] = []
        folder.mkdir(parents=True, exist_ok=True)

    def heard(self, events: Iterable[Event]) -> Iterator[Event]:
        """The same events."""
        for event in events:
            minutes = (self._watch.now() - self._began) / 60
            self._note(event, minutes)
            over = isinstance(event, Finished)
            passed: list[float | None] = [m for m in self._due if over or m <= minutes]
            self._due = self._due[len(passed) :]
            passed += [None] if over else []
            if passed:
                with self._watch.stopped():
                    self._keep(passed, minutes)
            yield event

    def _note(self, event: Event, minutes: float) -> None:
        match event:
            case StageStarted():
                self._before, self._in_round = self._before + self._in_round, 0
            case StepDone() if event.stage in TRAINING:
                self._in_round = event.step
            case ValidationScored():
                self._estimated = dict(event.dice_per_class)
            case SlicesPublished():
                if self._published_min is None:
                    self._published_min = minutes
            case _:
                pass

    def _keep(self, marks: list[float | None], minutes: float) -> None:
        """Copy the labels once; they belong to all of these marks."""
        file = self._folder / f"{len(self.moments)}.npz"
        np.savez_compressed(file, *(exported(self._study, case.id) for case in self._study.cases))
        steps = self._before + self._in_round
        self.moments += [
            Moment(mark, minutes, steps, self._estimated, self._published_min, file)
            for mark in marks
        ]
