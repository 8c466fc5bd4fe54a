"""A ruler: lines on slices with their lengths, in a layer of their own while a case is on view."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from napari.components import ViewerModel
from napari.layers import Shapes
from numpy.typing import ArrayLike, NDArray
from qtpy.QtCore import QObject

from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.case.layers import placement
from napari_mlbseg.widgets.workbench import Workbench

RULER: Final = "ruler"
_COLOR: Final = "#ffdc00"
_HOW: Final = (
    "Drag from one point to another to measure. F10 goes back to the brush; napari's buttons for "
    "the layer “ruler” select and delete lines."
)


def lengths_mm(lines: Sequence[ArrayLike], spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Return the lengths of lines, whose ends are in voxels (z y x).

    >>> lengths_mm([[[0, 0, 0], [0, 3, 4]], [[0, 0, 0], [2, 0, 0]]], (2.5, 1, 1)).tolist()
    [5.0, 5.0]
    """
    ends = [np.asarray(line, np.float64)[[0, -1]] for line in lines]
    return np.array([float(np.linalg.norm((a - b) * spacing_mm)) for a, b in ends])


class Ruler(QObject):
    """Measures on the case on view; the lines go with it."""

    def __init__(self, viewer: ViewerModel, bench: Workbench, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._bench = viewer, bench
        self._layer: Shapes | None = None
        self._annotation: Annotation | None = None
        bench.view.changed.connect(self._follow)

    def toggle(self) -> None:
        """Take the ruler up, or go back to the brush."""
        annotation, study = self._bench.annotation, self._bench.study
        if annotation is None or study is None:
            return
        layer = self._layer if self._layer in self._viewer.layers else None
        if layer is not None and self._viewer.layers.selection.active is layer:
            annotation.layers.take_up()
            return
        if layer is None:
            layer = self._layer = self._viewer.add_shapes(
                ndim=3,
                name=RULER,
                edge_color=_COLOR,
                face_color="transparent",
                features={"length": np.empty(0)},
                text={"string": "{length:.1f} mm", "color": _COLOR, "anchor": "upper_left"},
                **placement(study, annotation.case),
            )
            self._annotation = annotation
            layer.current_edge_width = 0.5
            layer.events.data.connect(self._measure)
        self._viewer.layers.selection.active = layer
        layer.mode = "add_line"
        self._bench.told.emit(_HOW)

    def _measure(self, event: Any = None) -> None:
        layer, annotation = self._layer, self._annotation
        if layer is None or annotation is None:
            return
        found = lengths_mm(layer.data, annotation.case.geometry.spacing_mm)
        if not np.array_equal(layer.features["length"], found):
            layer.features = {"length": found}
            if found.size and found[-1]:
                self._bench.told.emit(f"Distance: {found[-1]:.1f} mm")

    def _follow(self) -> None:
        """Take the lines away with their case."""
        if self._layer is None or self._bench.annotation is self._annotation:
            return
        layer, self._layer, self._annotation = self._layer, None, None
        layer.events.data.disconnect(self._measure)
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
