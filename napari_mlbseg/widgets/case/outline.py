"""What an answer would change on a slice, as an outline in a layer of its own."""

from typing import Final

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.study import Study
from napari_mlbseg.widgets.case.layers import placement

ANSWER: Final = "answer"
_TO_BACKGROUND: Final = 256
"""Above every class; the background itself would have no outline."""
_LIME: Final = DirectLabelColormap(color_dict={0: (0, 0, 0, 0), None: (0.4, 1.0, 0.2, 1.0)})


class Outline:
    """Outlines of the pixels that would change, one for each new class.

    They are lime, which no class has by default: in the colour of a class they would look like the
    outlines of a prediction. The layer is there only while it shows something.
    """

    def __init__(self, viewer: ViewerModel, study: Study, case: Case) -> None:
        self._viewer, self._study, self._case = viewer, study, case
        self._layer: Labels | None = None

    def show(
        self, axis: int, index: int, before: NDArray[np.uint8], after: NDArray[np.uint8]
    ) -> None:
        """Outline what differs between two looks of a slice (y x)."""
        self.hide()
        changes = np.where(after == 0, _TO_BACKGROUND, after.astype(np.uint16))
        where = placement(self._study, self._case)
        place = list(where["translate"])
        place[axis] += index * where["scale"][axis]
        active = self._viewer.layers.selection.active
        self._layer = self._viewer.add_labels(
            np.expand_dims(np.where(before == after, 0, changes).astype(np.uint16), axis),
            name=ANSWER,
            colormap=_LIME,
            opacity=1.0,
            **(where | {"translate": place}),
        )
        self._layer.contour = 2
        self._layer.editable = False
        self._viewer.layers.selection.active = active  # the brush stays where it is

    def hide(self) -> None:
        """Take the layer away."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
