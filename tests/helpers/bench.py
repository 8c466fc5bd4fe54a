"""A window with a study, and a hand on its canvas."""

import napari
import numpy as np
from canvas import Hand
from numpy.typing import NDArray

from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.working_layer import Labels
from napari_mlbseg.widgets.dock import MLBSegDock


class WindowAtWork:
    """A viewer with the dock of an open study; keys and mouse go to its canvas."""

    def __init__(self, viewer: napari.Viewer, dock: MLBSegDock) -> None:
        self.viewer, self.dock = viewer, dock
        self.hand = Hand(viewer, dock)

    @property
    def annotation(self) -> Annotation:
        assert self.dock.workbench.annotation is not None
        return self.dock.workbench.annotation

    @property
    def study(self) -> Study:
        assert self.dock.workbench.study is not None
        return self.dock.workbench.study

    @property
    def layer(self) -> Labels:
        return self.annotation.layers.working

    @property
    def labels(self) -> NDArray[np.uint8]:
        return np.asarray(self.layer.data)

    def state(self, index: int) -> SliceState:
        """Of a slice along the axis on view, as the study has it."""
        key = self.annotation.key
        record = self.study.slices.record(SliceKey(key.case_id, key.axis, index))
        return record.state if record else SliceState.UNTOUCHED

    @property
    def message(self) -> str:
        return self.dock.message.text()
