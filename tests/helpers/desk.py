"""A case at work on a viewer without a window."""

import numpy as np
from at_work import heard
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_mlbseg.engine.events import SlicesPublished
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.class_marks import ClassMarks

DRAFT, UNTOUCHED = SliceState.DRAFT, SliceState.UNTOUCHED
Labels = NDArray[np.uint8]


class Desk:
    """A case at work, and what it tells."""

    def __init__(self, viewer: ViewerModel, study: Study) -> None:
        self.study, self.case = study, study.cases[0]
        self.marks = ClassMarks()
        self.annotation = Annotation(viewer, study, self.case, marks=self.marks)
        self.tools, self.commands = self.annotation.tools, self.annotation.commands
        self.told = heard(self.annotation.told)
        self.failures = heard(self.annotation.failed)
        self.requests = heard(self.annotation.request)
        _, self.rows, self.columns = self.case.geometry.shape

    def key(self, index: int, axis: int = 0) -> SliceKey:
        return SliceKey(self.case.id, axis, index)

    def state(self, index: int, axis: int = 0) -> SliceState:
        record = self.study.slices.record(self.key(index, axis))
        return record.state if record else UNTOUCHED

    def states(self) -> dict[int, SliceState]:
        return {r.key.index: r.state for r in self.study.slices.records() if r.key.axis == 0}

    @property
    def labels(self) -> Labels:
        return np.asarray(self.annotation.layers.working.data)

    def draw(self, index: int, labels: Labels) -> None:
        """Paint a whole slice by hand; it becomes a draft."""
        self.annotation.go_to(index)
        self.annotation.layers.working.data[index] = labels
        self.annotation.flush()
        assert self.state(index) is DRAFT

    def paint_across(self, row: int, index: int) -> None:
        """Paint a row of a slice on the slice across it, which becomes a draft."""
        self.annotation.show_axis(1)
        self.annotation.go_to(row)
        self.annotation.layers.working.data[index, row] = 2
        self.annotation.show_axis(0)
        assert self.state(row, axis=1) is DRAFT

    def disc(self, x: int, radius: float = 9, value: int = 1) -> Labels:
        rows, columns = np.ogrid[: self.rows, : self.columns]
        inside = (rows - self.rows // 2) ** 2 + (columns - x) ** 2 <= radius**2
        return np.where(inside, value, 0).astype(np.uint8)

    def publish(self, name: ArrayName, block: Labels) -> None:
        """What the engine tells when it has written a whole array."""
        if not self.study.arrays.has(self.case.id, name):
            self.study.arrays.create(self.case.id, name)
        self.study.arrays.write(self.case.id, name, 0, 0, block)
        event = SlicesPublished(self.case.id, 0, 0, len(block), (name.value,), 1)
        self.annotation.published(event)

    def undone_and_redone(self) -> None:
        """One step takes everything back, one brings it again."""
        after, states = self.labels, self.states()
        self.commands.undo()
        self.commands.redo()
        assert np.array_equal(self.labels, after)
        assert {k: s for k, s in self.states().items() if s is not UNTOUCHED} == states
        self.commands.undo()
