"""Writes predictions and weight maps to a study."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.engine.data.source import Source, Span
from napari_mlbseg.engine.events import SlicesPublished
from napari_mlbseg.engine.interruption import Check, interrupts, never
from napari_mlbseg.engine.nets.model import Model, Parameters
from napari_mlbseg.engine.nets.views import View
from napari_mlbseg.engine.predictions.brake import Brake
from napari_mlbseg.engine.predictions.observer import Labels, Observer
from napari_mlbseg.engine.predictions.schedule import Schedule
from napari_mlbseg.engine.steps.weighting.rule import Scores
from napari_mlbseg.project.arrays.store import ArrayName, Block
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.extents import clear_excluded
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.tidying.tidy import tidied_array

SLICES_WRITTEN_AT_ONCE = 8

_BEGINS_AS = {
    ArrayName.PREDICTION: ArrayName.INITIAL_LABELS,
    ArrayName.PROPOSED_LABELS: ArrayName.PREDICTION,
}
"""The array that a new one is copied from: nobody may take unwritten zeros for labels."""
_MAPS = (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO, ArrayName.TRUST)
"""Arrays that are NaN where nothing was computed yet."""
_NO_BRAKE = Brake()


class Publisher:
    """The one writer of the prediction and weight arrays of a study.

    If `check` raises, writing ends after a few slices: the event says which were written, and the
    others remain due.

    Attributes
    ----------
    schedule
        Tells which slices are due next.
    """

    def __init__(
        self,
        study: Study,
        source: Source,
        model: Model,
        *,
        views: Sequence[View],
        weigh: Scores | None,
        check: Check = never,
    ) -> None:
        self.schedule = Schedule(study.cases, source)
        self._study, self._check = study, check
        self._observer = Observer(source, model, views, weigh)
        self._labels: dict[int, Labels] = {}

    def publish(
        self,
        span: Span,
        *,
        parameters: Parameters,
        direction: Parameters | None,
        step: int,
        brake: Brake = _NO_BRAKE,
        identity_view_only: bool = False,
    ) -> SlicesPublished:
        """Predict the slices and write the result, or imported labels that are kept.

        See `Observer.see` for the parameters. A new prediction array starts as a copy of the
        initial labels, and new proposed labels as a copy of the prediction, so that neither is
        ever half empty.
        """
        self._begin(ArrayName.PREDICTION, span.case)
        seen = self._observer.see(
            span, parameters, direction, identity_view_only=identity_view_only
        )
        for part in self._written_at_once(span):
            maps = self._observer.maps(seen, part, brake)
            for name, voxels in maps.items():
                self._write(name, part, voxels)
        done = Span(span.case, span.axis, span.start, part.stop)
        self.schedule.published(done, step=step)
        return _told(done, tuple(map(str, maps)), step)

    def share_of_passes(self, *, identity_view_only: bool) -> float:
        """Share of the passes through the network that are made with `identity_view_only`."""
        return self._observer.share_of_passes(identity_view_only=identity_view_only)

    def label(
        self,
        span: Span,
        *,
        parameters: Parameters,
        step: int,
        arrays: Sequence[ArrayName],
        brake: Brake = _NO_BRAKE,
        quick: bool = False,
    ) -> SlicesPublished:
        """Predict the slices; write a case to all of these arrays at once, with its last slices.

        Until then nothing is published. The spans of a case must come one after the other. Labels
        are made as tidy as their classes are said to be. A `quick` prediction is of the identity
        view alone.
        """
        case = span.case
        seen = self._observer.see(span, parameters, quick=quick)
        if span.start == 0:  # what is left of a case that was given up does not belong to this one
            self._labels = {}
        for part in self._written_at_once(span):
            self._labels[part.start] = self._observer.labels(seen, part, brake)
        done = Span(case, span.axis, span.start, part.stop)
        whole = Span(case, span.axis, 0, case.geometry.shape[case.axis])
        if done.stop < whole.stop:
            return _told(done, (), step)
        parts = [labels for _, labels in sorted(self._labels.items())]
        self._labels = {}
        shown, learnt = (self._certain(case, np.concatenate(p)) for p in zip(*parts, strict=True))
        for name in arrays:
            labels = learnt if name is ArrayName.PSEUDO_LABELS else shown
            self._study.arrays.create(case.id, name, [(0, labels)], axis=case.axis)
        self.schedule.labelled(whole, step=step)
        return _told(whole, tuple(map(str, arrays)), step)

    def _certain(self, case: Case, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels (slices, rows, columns) without what cannot be.

        No class shows outside its extent, nor in more pieces than it has.
        """
        whole = slice(None), slice(None), slice(None)
        upright = np.moveaxis(labels, 0, case.axis)
        clear_excluded(upright, whole, self._study.extents.excluded_along(case.id))
        classes = {one.value: one for one in self._study.classes if one.is_tidied}
        return tidied_array(labels, classes)[0] if classes else labels

    def put_back(self, span: Span, *, brake: Brake, step: int) -> SlicesPublished | None:
        """Write the imported labels that are kept in place of predictions; needs no network."""
        standing = brake.keeps_unasked(span)
        if not standing.any() or not self._study.arrays.has(span.case.id, ArrayName.PREDICTION):
            return None
        for i in np.flatnonzero(standing) + span.start:
            at = span.case.id, ArrayName.INITIAL_LABELS, span.axis, int(i)
            one = Span(span.case, span.axis, int(i), int(i) + 1)
            self._write(ArrayName.PREDICTION, one, self._study.arrays.read(*at)[None])
        return _told(span, (ArrayName.PREDICTION.value,), step)

    def _written_at_once(self, span: Span) -> Iterator[Span]:
        """Yield a few slices at a time; an interruption ends this after the first ones."""
        for part in span.parts(SLICES_WRITTEN_AT_ONCE):
            if part.start > span.start and interrupts(self._check):
                return
            yield part

    def _begin(self, name: ArrayName, case: Case) -> None:
        """Create an array of a case unless it exists."""
        if not self._study.arrays.has(case.id, name):
            self._study.arrays.create(case.id, name, self._first(name, case), axis=case.axis)

    def _first(self, name: ArrayName, case: Case) -> Iterator[Block]:
        """Yield what an array begins with, in blocks of a convenient size for writing."""
        origin = _BEGINS_AS.get(name)
        rows = [n for axis, n in enumerate(case.geometry.shape) if axis != case.axis]
        count = case.geometry.shape[case.axis]
        for part in Span(case, case.axis, 0, count).parts(SLICES_WRITTEN_AT_ONCE):
            if origin is not None:
                read = self._study.arrays.read
                yield (
                    part.start,
                    np.stack([read(case.id, origin, case.axis, k.index) for k in part.keys]),
                )
            elif name in _MAPS:
                yield part.start, np.full((part.stop - part.start, *rows), np.nan, np.float16)

    def _write(self, name: ArrayName, span: Span, slices: NDArray[np.generic]) -> None:
        self._begin(name, span.case)
        self._study.arrays.write(span.case.id, name, span.axis, span.start, slices)


def _told(span: Span, arrays: tuple[str, ...], step: int) -> SlicesPublished:
    return SlicesPublished(span.case.id, span.axis, span.start, span.stop, arrays, step)
