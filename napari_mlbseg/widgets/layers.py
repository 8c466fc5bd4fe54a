"""One case as napari layers: the only file that adds layers to a viewer.

Layers of machine work show arrays in memory that only this file writes, on the main thread; the
engine writes to the study's store.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels, Layer
from napari.utils.colormaps import Colormap, DirectLabelColormap
from numpy.typing import NDArray

from napari_mlbseg.project.arrays import ArrayName
from napari_mlbseg.project.cases import Case, LabelClass
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import AXIS_NAMES
from napari_mlbseg.widgets.working_labels import slice_of

# Keys of a layer's metadata that say which study and which case it belongs to.
STUDY_KEY = "mlbseg_study"
CASE_KEY = "mlbseg_case"
WORKING_LABELS = "working labels"
LAYER_NAMES = {
    ArrayName.IMAGE: "image",
    ArrayName.INITIAL_LABELS: "initial labels",
    ArrayName.PREDICTION: "prediction",
    ArrayName.META_WEIGHTS_INITIAL: "meta-weights: initial labels",
    ArrayName.META_WEIGHTS_PSEUDO: "meta-weights: pseudo labels",
}
MACHINE_ARRAYS = (
    ArrayName.INITIAL_LABELS,
    ArrayName.PREDICTION,
    ArrayName.META_WEIGHTS_INITIAL,
    ArrayName.META_WEIGHTS_PSEUDO,
)
# Meta-weights are multiples of the uniform weight: 1 is average trust, 0 is ignored.
_WEIGHT_LIMITS = (0.0, 3.0)
# Clear at 1, so that the image is veiled only where a label counts less (magenta) or more (teal).
_WEIGHT_COLORS = ((0.85, 0.0, 0.55, 1.0), (1.0, 1.0, 1.0, 0.0), (0.0, 0.65, 0.65, 1.0))
_BRUSH_MM = 8.0


def label_colors(classes: Iterable[LabelClass], opacity: float = 1.0) -> DirectLabelColormap:
    """Class colours of a study; values without a class are shown in magenta."""
    colors: dict[int | None, Any] = {0: (0, 0, 0, 0), None: (1.0, 0.0, 1.0, opacity)}
    colors |= {c.value: (*(v / 255 for v in c.color), opacity) for c in classes}
    return DirectLabelColormap(color_dict=colors)


def placement(study: Study, case: Case) -> dict[str, Any]:
    """Keyword arguments that put a layer where the case lies, in mm, and say whose it is."""
    return {
        "scale": case.geometry.spacing_mm,
        "translate": case.geometry.origin_mm,
        "units": ("mm", "mm", "mm"),
        "axis_labels": AXIS_NAMES,
        "metadata": {STUDY_KEY: str(study.path), CASE_KEY: case.id},
    }


def contrast_limits(case: Case) -> tuple[float, float]:
    """Intensities shown as black and as white, also for a constant image."""
    low, high = case.intensity.low, case.intensity.high
    return low, high if high > low else low + 1.0


class CaseLayers:
    """The layers of the case on view.

    Attributes
    ----------
    working
        The layer that is painted on.
    """

    def __init__(
        self, viewer: ViewerModel, study: Study, case: Case, voxels: NDArray[np.uint8]
    ) -> None:
        self._viewer = viewer
        self._study = study
        self._case = case
        self._arrays = {name: self._read(name) for name in LAYER_NAMES}
        self._predicted = study.has_array(case.id, ArrayName.PREDICTION)
        self._layers: dict[ArrayName, Layer] = {}
        self._add_image()
        for name in (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO):
            self._add_weights(name)
        self._add_contours(ArrayName.INITIAL_LABELS, width=1, visible=False)
        self._add_contours(ArrayName.PREDICTION, width=2, visible=True)
        self.working = self._add_working(voxels)
        viewer.canvas.overlays.scale_bar.visible = True
        self.show_axis(case.axis)
        viewer.reset_view()

    # --- where the view stands ---------------------------------------------------------------

    @property
    def axis(self) -> int | None:
        """Display axis (0 z, 1 y, 2 x) that the view cuts across; None in a 3-D view."""
        dims = self._viewer.dims
        hidden = [d - (dims.ndim - 3) for d in dims.not_displayed if d >= dims.ndim - 3]
        return hidden[0] if len(hidden) == 1 else None

    def index(self, axis: int) -> int:
        """Index along `axis` of the slice at the viewer's position, inside the case."""
        position = self.working.world_to_data(self._viewer.dims.point)[axis]
        return int(np.clip(np.round(position), 0, self._case.geometry.shape[axis] - 1))

    def show_slice(self, axis: int, index: int) -> None:
        """Move the viewer to a slice."""
        position = [0.0, 0.0, 0.0]
        position[axis] = float(index)
        offset = self._viewer.dims.ndim - 3
        self._viewer.dims.set_point(offset + axis, self.working.data_to_world(position)[axis])

    def show_axis(self, axis: int) -> None:
        """Cut across `axis`."""
        offset = self._viewer.dims.ndim - 3
        in_plane = [k for k in range(3) if k != axis]
        order = (*range(offset), *(offset + k for k in (axis, *in_plane)))
        self._viewer.dims.order = order
        self.face_up(axis)

    def face_up(self, axis: int) -> None:
        """Put superior at the top where z lies in the plane, anterior in axial slices."""
        self._viewer.scene.camera.orientation2d = ("down" if axis == 0 else "up", "right")

    # --- what is shown -----------------------------------------------------------------------

    @property
    def machine_array(self) -> ArrayName:
        """The array that `machine_slice` shows: the prediction once there is one."""
        return ArrayName.PREDICTION if self._predicted else ArrayName.INITIAL_LABELS

    def machine_slice(self, axis: int, index: int) -> NDArray[np.uint8]:
        """The prediction where there is one, else the initial labels, as they are shown."""
        return self._arrays[self.machine_array][slice_of(axis, index)]

    def reload(self, names: Iterable[ArrayName], axis: int, start: int, stop: int) -> None:
        """Read slices anew from the study's store; `draw` shows them.

        Arrays without a layer are passed over, also by `draw`.
        """
        for name in self._arrays.keys() & set(names):
            self._predicted |= name is ArrayName.PREDICTION
            block = self._study.array(self._case.id, name)
            where = tuple(slice(start, stop) if k == axis else slice(None) for k in range(3))
            self._arrays[name][where] = np.asarray(block[where])

    def draw(self, names: Iterable[ArrayName] = MACHINE_ARRAYS, *, working: bool = True) -> None:
        """Show what the arrays hold now; costs about a millisecond a layer."""
        layers = [self._layers[name] for name in names if name in self._layers]
        for layer in [*layers, *([self.working] if working else [])]:
            if layer in self._viewer.layers:
                layer.refresh(thumbnail=False, highlight=False, extent=False)

    def write_slice(self, axis: int, index: int, labels: NDArray[np.uint8]) -> None:
        """Replace a slice of the working labels, as one step that undo takes back."""
        where = slice_of(axis, index)
        changed = np.nonzero(self.working.data[where] != labels)
        if changed[0].size == 0:
            return
        indices = list(changed)
        indices.insert(axis, np.full_like(changed[0], index))
        with self.working.block_history():
            self.working.data_setitem(tuple(indices), labels[changed])

    def set_classes(self, classes: Iterable[LabelClass]) -> None:
        """Show labels in the colours of these classes."""
        colors = label_colors(classes)
        for layer in (self.working, *self._layers.values()):
            if isinstance(layer, Labels):
                layer.colormap = colors

    @property
    def complete(self) -> bool:
        """Whether nobody has deleted one of the layers."""
        return all(layer in self._viewer.layers for layer in (self.working, *self._layers.values()))

    def remove(self) -> None:
        """Take the layers out of the viewer."""
        for layer in (self.working, *self._layers.values()):
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    # --- making them -------------------------------------------------------------------------

    def _read(self, name: ArrayName) -> NDArray[Any]:
        if name is ArrayName.IMAGE or self._study.has_array(self._case.id, name):
            return np.array(self._study.array(self._case.id, name)[:])
        weights = (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO)
        dtype = np.float16 if name in weights else np.uint8
        return np.zeros(self._case.geometry.shape, dtype=dtype)

    def _add_image(self) -> None:
        self._layers[ArrayName.IMAGE] = self._viewer.add_image(
            self._arrays[ArrayName.IMAGE],
            name=LAYER_NAMES[ArrayName.IMAGE],
            colormap="gray",
            contrast_limits=contrast_limits(self._case),
            **placement(self._study, self._case),
        )

    def _add_weights(self, name: ArrayName) -> None:
        self._layers[name] = self._viewer.add_image(
            self._arrays[name],
            name=LAYER_NAMES[name],
            colormap=Colormap(_WEIGHT_COLORS, name="trust", controls=(0.0, 1 / 3, 1.0)),
            contrast_limits=_WEIGHT_LIMITS,
            opacity=0.8,
            visible=False,
            **placement(self._study, self._case),
        )

    def _add_contours(self, name: ArrayName, *, width: int, visible: bool) -> None:
        layer = self._viewer.add_labels(
            self._arrays[name],
            name=LAYER_NAMES[name],
            colormap=label_colors(self._study.classes),
            opacity=0.9,
            visible=visible,
            **placement(self._study, self._case),
        )
        layer.contour = width
        layer.editable = False
        self._layers[name] = layer

    def _add_working(self, voxels: NDArray[np.uint8]) -> Labels:
        layer = self._viewer.add_labels(
            voxels,
            name=WORKING_LABELS,
            colormap=label_colors(self._study.classes),
            opacity=0.4,
            **placement(self._study, self._case),
        )
        classes = self._study.classes
        layer.selected_label = classes[0].value if classes else 1
        in_plane = [s for k, s in enumerate(self._case.geometry.spacing_mm) if k != self._case.axis]
        layer.brush_size = int(np.clip(round(_BRUSH_MM / min(in_plane)), 3, 40))
        self._viewer.layers.selection.active = layer
        if self._study.writable:
            layer.mode = "paint"
        else:
            layer.editable = False
        return layer


def layer_data(study: Study, case: Case) -> list[tuple[Any, dict[str, Any], str]]:
    """Image and working labels of a case as plain layer data, for use without the dock."""
    where = placement(study, case)
    image = np.asarray(study.array(case.id, ArrayName.IMAGE)[:])
    shown = {"name": case.id, "contrast_limits": contrast_limits(case), "colormap": "gray"}
    colors = label_colors(study.classes)
    labels = np.array(study.working_labels(case.id))
    return [
        (image, {**shown, **where}, "image"),
        (labels, {"name": f"{case.id} labels", "colormap": colors, **where}, "labels"),
    ]
