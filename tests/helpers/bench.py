"""A window with a study, and a hand on its canvas."""

import napari
from canvas import Hand

from napari_mlbseg.widgets.case.annotation import Annotation
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
    def message(self) -> str:
        return self.dock.message.text()
