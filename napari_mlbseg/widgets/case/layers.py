"""One case as napari layers; only here and in `outline` layers are added to a viewer."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap, DirectLabelColormap
from numpy.typing import NDArray

from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import AXIS_NAMES
from napari_mlbseg.widgets.case.carried import Framing, contrast_limits, place, window_of
from napari_mlbseg.widgets.case.channels import Channels
from napari_mlbseg.widgets.case.stored import CaseArrays
from napari_mlbseg.widgets.case.working_labels import WorkingLabels
from napari_mlbseg.widgets.case.working_layer import Labels as PaintedLabels

# Keys of the layer metadata that name the study and the case of a layer.
STUDY_KEY = "mlbseg_study"
CASE_KEY = "mlbseg_case"
WORKING_LABELS = "working labels"
LAYER_NAMES = {
    ArrayName.IMAGE: "image",
    ArrayName.INITIAL_LABELS: "initial labels",
    ArrayName.PREDICTION: "prediction",
    ArrayName.META_WEIGHTS_INITIAL: "meta-weights: initial labels",
    ArrayName.META_WEIGHTS_PSEUDO: "meta-weights: pseudo labels",
    ArrayName.TRUST: "trust",
}


@dataclass(frozen=True)
class _Look:
    """The colours of a map; `controls` place the colours (RGBA) within `limits`."""

    name: str
    limits: tuple[float, float]
    controls: tuple[float, ...]
    colors: tuple[tuple[float, float, float, float], ...]


# Meta-weights are multiples of the uniform weight: 1 is average, 0 does not count at all. 1 is
# clear, so that only labels that count less (magenta) or more (teal) cover the image. How much less
# or more the densest colours mean is what there is on the slice on view, see `weight_limits`.
_WEIGHTS = _Look(
    "meta-weights",
    (0.0, 2.0),
    (0.0, 0.5, 1.0),
    ((0.85, 0.0, 0.55, 1.0), (1.0, 1.0, 1.0, 0.0), (0.0, 0.65, 0.65, 1.0)),
)
# Trust runs from 0, where the clean slices contradict the prediction, to 1. High trust is clear;
# the lower the trust, the denser and lighter the colour, from a blue violet to a light magenta,
# which no class has by default.
_TRUST = _Look(
    "trust",
    (0.0, 1.0),
    (0.0, 0.25, 0.5, 1.0),
    (
        (1.0, 0.55, 1.0, 1.0),
        (0.62, 0.2, 0.98, 0.85),
        (0.3, 0.1, 0.95, 0.0),
        (0.3, 0.1, 0.95, 0.0),
    ),
)
_BRUSH_MM = 8.0
_OUTLINE_PX = 2
_THICKEST = 24
"""Of an outline in pixels of the image: to compute thicker ones takes long."""
_WEIGHT_MAPS = (ArrayName.META_WEIGHTS_INITIAL, ArrayName.META_WEIGHTS_PSEUDO)
OVERLAYS = (
    ArrayName.INITIAL_LABELS,
    ArrayName.PREDICTION,
    ArrayName.TRUST,
    *_WEIGHT_MAPS,
)
# As shares of the width that is asked for: the prediction lies over the initial labels.
_OUTLINED = {ArrayName.INITIAL_LABELS: 0.5, ArrayName.PREDICTION: 1.0}
_SEEN_PERCENTILE = 99.5
_LEAST_REACH = 0.01


def label_colors(classes: Iterable[LabelClass], hidden: Container[int] = ()) -> DirectLabelColormap:
    """Return the colours of the classes; hidden ones are clear, values without a class magenta."""
    colors: dict[int | None, Any] = {0: (0, 0, 0, 0), None: (1.0, 0.0, 1.0, 1.0)}
    colors |= {c.value: (*(v / 255 for v in c.color), c.value not in hidden) for c in classes}
    return DirectLabelColormap(color_dict=colors)


def placement(study: Study, case: Case) -> dict[str, Any]:
    """Return keyword arguments that place a layer in mm and name its study and case."""
    return {
        "scale": case.geometry.spacing_mm,
        "translate": case.geometry.origin_mm,
        "units": ("mm", "mm", "mm"),
        "axis_labels": AXIS_NAMES,
        "metadata": {STUDY_KEY: str(study.path), CASE_KEY: case.id},
    }


def weight_limits(weights: NDArray[np.floating]) -> tuple[float, float]:
    """Return the meta-weights of a slice (y x) that get the densest colours, as far from 1 each.

    All but one pixel in 200 lie between them; pixels without a weight (NaN) do not count.
    """
    known = np.asarray(weights, np.float32)
    known = known[np.isfinite(known)]
    reach = float(np.percentile(np.abs(known - 1), _SEEN_PERCENTILE)) if known.size else 1.0
    reach = min(max(reach, _LEAST_REACH), 1.0)
    return 1 - reach, 1 + reach


def _show_numbers(event: Any) -> None:
    """Show the colour bar of a map once the map is shown: making it takes a quarter of a layer."""
    event.source.colorbar.visible = True


class CaseLayers:
    """The layers of the case on view.

    Attributes
    ----------
    working
        The layer that is painted on.
    outline_px
        How wide outlines are on the screen, in pixels; see `set_outline`.
    channels
        Which channel the layer of the image shows.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        study: Study,
        case: Case,
        arrays: CaseArrays,
        labels: WorkingLabels,
        *,
        earlier: "CaseLayers | None" = None,
        index: int | None = None,
    ) -> None:
        """Show a case, at a slice along its axis or in the middle.

        `earlier` are the layers of the case shown before in the same study: if none was deleted
        they get new data, and keep the tool, what is shown, and how the image is seen.
        """
        self._viewer = viewer
        self._study = study
        self._case = case
        self._arrays = arrays
        self._layers: dict[ArrayName, Layer] = {}
        self.working: PaintedLabels
        self._hidden: list[Layer] = []
        self.outline_px: int = _OUTLINE_PX if earlier is None else earlier.outline_px
        index = case.geometry.shape[case.axis] // 2 if index is None else index
        self.channels = Channels(case)
        if earlier is not None and earlier.complete:
            earlier.channels.keep(window_of(earlier.image))
            self.channels = Channels(case, earlier.channels)
            arrays.look_through(self.channels.array)
            self.working, self._layers = earlier.working, earlier._layers
            self._hidden = earlier._hidden
            self._fitted = self._take_over(earlier, labels, index)
        else:
            if earlier is not None:
                earlier.remove()
            self._add_all(labels, index)
            self._fitted = self._fit()
        for name in _WEIGHT_MAPS:
            self._layers[name].events.visible.connect(self.fit_weights)
        viewer.scene.camera.events.zoom.connect(self.fit_outlines)
        self.fit_outlines()

    # --- where the view stands ---------------------------------------------------------------

    @property
    def axis(self) -> int | None:
        """Display axis (0 z, 1 y, 2 x) perpendicular to the view; None in a 3-D view."""
        dims = self._viewer.dims
        hidden = [d - (dims.ndim - 3) for d in dims.not_displayed if d >= dims.ndim - 3]
        return hidden[0] if len(hidden) == 1 else None

    @property
    def unseen(self) -> str | None:
        """What to do to see a slice of the working labels; None if one is visible."""
        axis = self.axis
        if self.working not in self._viewer.layers:
            return f'Choose the case again (its layer "{WORKING_LABELS}" was deleted)'
        if axis is None:
            return "Go back to 2-D (Ctrl+Y, or the cube button below the layer list)"
        if not self.working.visible:
            return f'Show the layer "{WORKING_LABELS}" (the eye icon in the layer list)'
        if not 0 <= self._position(axis) < self._case.geometry.shape[axis]:
            return "Move to a slice of the case (the view is outside the case)"
        return None

    def reveal(self) -> None:
        """Show the working labels in 2-D."""
        self._viewer.dims.ndisplay = 2
        if not self.working.visible:  # showing a visible layer again would drop the tool
            self.working.visible = True

    def take_up(self) -> None:
        """Let the mouse and napari's tools act on the working labels, not on another layer."""
        if self.working in self._viewer.layers:
            self._viewer.layers.selection.active = self.working

    def index(self, axis: int) -> int:
        """Return the index along `axis` of the slice on view, limited to the case."""
        return int(np.clip(self._position(axis), 0, self._case.geometry.shape[axis] - 1))

    def _position(self, axis: int) -> int:
        return round(float(self.working.world_to_data(self._viewer.dims.point)[axis]))

    def show_slice(self, axis: int, index: int) -> None:
        """Move the viewer to a slice."""
        position = [0.0, 0.0, 0.0]
        position[axis] = float(index)
        offset = self._viewer.dims.ndim - 3
        self._viewer.dims.set_point(offset + axis, self.working.data_to_world(position)[axis])

    def show_axis(self, axis: int) -> None:
        """Show slices along `axis`."""
        self._cut_across(axis)
        self.face_up(axis)

    def _cut_across(self, axis: int) -> None:
        dims = self._viewer.dims
        if dims.ndim < 3:
            dims.ndim = 3
        offset = dims.ndim - 3
        in_plane = [k for k in range(3) if k != axis]
        order = (*range(offset), *(offset + k for k in (axis, *in_plane)))
        dims.order = order

    def face_up(self, axis: int) -> None:
        """Put superior at the top if z lies in the plane; in axial slices, anterior."""
        self._viewer.scene.camera.orientation2d = ("down" if axis == 0 else "up", "right")

    # --- what is shown -----------------------------------------------------------------------

    @property
    def image(self) -> Image:
        """The layer of the image."""
        return self._layers[ArrayName.IMAGE]

    def show_next_channel(self) -> None:
        """Show the next channel on the layer of the image, with the grey levels that it had."""
        self.channels.keep(window_of(self.image))
        self.channels.go_on()
        self._arrays.look_through(self.channels.array)
        self._fill(self.image, self._arrays.image)
        self._show_levels()

    def _show_levels(self) -> None:
        """Name the channel on view, and show its grey levels."""
        layer, own, chosen = self.image, contrast_limits(self.channels.seen), self.channels.levels
        layer.name = self.channels.layer_name
        layer.contrast_limits_range = min(own[0], chosen[0]), max(own[1], chosen[1])
        layer.contrast_limits = chosen

    def fit_weights(self, event: Any = None) -> None:
        """Stretch the colours of visible meta-weights to what there is on the slice on view."""
        axis = self.axis
        for name in _WEIGHT_MAPS if axis is not None else ():
            layer, weights = self._layers[name], self._arrays[name]
            if layer.visible and weights.there and axis is not None:
                where: list[Any] = [slice(None)] * 3
                where[axis] = self.index(axis)
                layer.contrast_limits = weight_limits(weights[tuple(where)])

    def set_outline(self, width_px: int) -> None:
        """Draw outlines as wide as this on the screen, or as wide as one pixel of the image."""
        self.outline_px = width_px
        self.fit_outlines()

    def fit_outlines(self, event: Any = None) -> None:
        """Keep outlines as wide on the screen as they are meant to be: napari zooms them, too."""
        axis = self._case.axis if self.axis is None else self.axis
        side_mm = min(s for k, s in enumerate(self._case.geometry.spacing_mm) if k != axis)
        on_screen = float(self._viewer.scene.camera.zoom) * side_mm
        for name in _OUTLINED:
            layer = self._layers[name]
            width = min(max(round(self.outline_px * _OUTLINED[name] / on_screen), 1), _THICKEST)
            if layer.contour != width:
                layer.contour = width

    def opacity(self, name: ArrayName | None) -> float:
        """Return how opaque an overlay is, from 0 to 1; None for the working labels."""
        return float(self._overlay(name).opacity)

    def set_opacity(self, name: ArrayName | None, opacity: float) -> None:
        """Show an overlay as opaque as this, from 0 to 1; None for the working labels."""
        self._overlay(name).opacity = opacity

    def _overlay(self, name: ArrayName | None) -> Layer:
        return self.working if name is None else self._layers[name]

    def draw(self, names: Iterable[ArrayName], *, working: bool = True) -> None:
        """Redraw from the arrays; takes about a millisecond per layer."""
        names = list(names)
        if set(names) & set(_WEIGHT_MAPS):
            self.fit_weights()
        layers = [self._layers[name] for name in names if name in self._layers]
        layers += [self.image] if set(names) & set(CHANNELS[1:]) else []
        for layer in [*layers, *([self.working] if working else [])]:
            if layer in self._viewer.layers:
                layer.refresh(thumbnail=False, highlight=False, extent=False)

    def toggle(self, name: ArrayName) -> bool:
        """Show or hide a layer; returns whether it is shown now."""
        layer = self._layers[name]
        layer.visible = not layer.visible
        return bool(layer.visible)

    def hide_all(self) -> None:
        """Show the image alone; once more shows again what was hidden."""
        overlays = [self._layers[name] for name in OVERLAYS]
        shown = [layer for layer in (*overlays, self.working) if layer.visible]
        for layer in shown or self._hidden:
            layer.visible = not shown
        self._hidden = shown or self._hidden

    def shown(self) -> frozenset[ArrayName]:
        """Return the overlays that are shown."""
        return frozenset(name for name in OVERLAYS if self._layers[name].visible)

    def on_shown(self, slot: Callable[[Any], None]) -> list[tuple[Any, Callable[[Any], None]]]:
        """Call `slot` when an overlay is shown, hidden or fades; return the events and the slot."""
        events = [(self._layers[name].events.visible, slot) for name in OVERLAYS]
        events += [(self._overlay(name).events.opacity, slot) for name in (None, *OVERLAYS)]
        for event, _ in events:
            event.connect(slot)
        return events

    def set_classes(self, classes: Sequence[LabelClass], hidden: Container[int] = ()) -> None:
        """Show labels in the colours of these classes, and paint only with them."""
        colors = label_colors(classes, hidden)
        for layer in (self.working, *self._layers.values()):
            if isinstance(layer, Labels):
                layer.colormap = colors
        self.working.limit_brush(c.value for c in classes)

    @property
    def complete(self) -> bool:
        """Whether none of the layers has been deleted."""
        return all(layer in self._viewer.layers for layer in (self.working, *self._layers.values()))

    @property
    def any_left(self) -> bool:
        """Whether at least one of the layers is still in the viewer."""
        return any(layer in self._viewer.layers for layer in (self.working, *self._layers.values()))

    def release(self) -> None:
        """Leave the layers to those who show the next case."""
        for name in _WEIGHT_MAPS:
            self._layers[name].events.visible.disconnect(self.fit_weights)
        self._viewer.scene.camera.events.zoom.disconnect(self.fit_outlines)

    def remove(self) -> None:
        """Remove the layers from the viewer."""
        for layer in (self.working, *self._layers.values()):
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    # --- another case on the same layers -------------------------------------------------------

    def _take_over(self, earlier: "CaseLayers", labels: WorkingLabels, index: int) -> Framing:
        """Show the case on the layers of an earlier one; return the framing that fits the slice.

        napari takes long to remove and to add a layer (it collects garbage each time).
        """
        framing, axis, mode = Framing.of(self._viewer), self.axis, self.working.mode
        layers: list[tuple[Layer, Any]] = [(self.working, labels)]
        layers += [(layer, self._arrays.behind(name)) for name, layer in self._layers.items()]
        shown = [layer for layer, _ in layers if layer.visible]
        self.working.drop_polygon()
        for layer in shown:
            layer.visible = False  # hidden layers read no slices while they are moved
        for layer, data in layers:
            self._fill(layer, data)
        self._show_levels()
        self.show_axis(self._case.axis)
        self.show_slice(self._case.axis, index)
        for layer in shown:
            layer.visible = True
        self.working.mode = mode
        if framing == earlier._fitted or axis != self._case.axis:
            return self._fit()
        framing.moved(axis, earlier._case.geometry, self._case.geometry).show(self._viewer)
        return earlier._fitted

    def _fill(self, layer: Layer, data: Any) -> None:
        editable, layer.editable = layer.editable, False  # drops napari's own history
        layer.data = data
        where = placement(self._study, self._case)
        layer.metadata = where["metadata"]
        place(layer, where["scale"], where["translate"])
        layer.editable = editable

    def _fit(self) -> Framing:
        self._viewer.reset_view()
        return Framing.of(self._viewer)

    # --- making them -------------------------------------------------------------------------

    def _add_all(self, labels: WorkingLabels, index: int) -> None:
        # Before the first layer is added, so that no slices are read along the wrong axis.
        self._cut_across(self._case.axis)
        self._add_image()
        for name in _WEIGHT_MAPS:
            self._add_map(name, _WEIGHTS)
        self._add_map(ArrayName.TRUST, _TRUST)
        self._add_outlines(ArrayName.INITIAL_LABELS, visible=False)
        self._add_outlines(ArrayName.PREDICTION, visible=True)
        self.working = self._add_working(labels)
        self._viewer.canvas.overlays.scale_bar.visible = True
        self.show_axis(self._case.axis)
        self.show_slice(self._case.axis, index)

    def _add_image(self) -> None:
        self._layers[ArrayName.IMAGE] = self._viewer.add_image(
            self._arrays[ArrayName.IMAGE],
            name=self.channels.layer_name,
            colormap="gray",
            contrast_limits=contrast_limits(self._case),
            **placement(self._study, self._case),
        )

    def _add_map(self, name: ArrayName, look: _Look) -> None:
        layer = self._layers[name] = self._viewer.add_image(
            self._arrays[name],
            name=LAYER_NAMES[name],
            colormap=Colormap(look.colors, name=look.name, controls=look.controls),
            contrast_limits=look.limits,
            opacity=0.8,
            visible=False,
            **placement(self._study, self._case),
        )
        layer.events.visible.connect(_show_numbers)

    def _add_outlines(self, name: ArrayName, *, visible: bool) -> None:
        layer = self._viewer.add_labels(
            self._arrays[name],
            name=LAYER_NAMES[name],
            colormap=label_colors(self._study.classes),
            opacity=0.9,
            visible=visible,
            **placement(self._study, self._case),
        )
        layer.editable = False
        self._layers[name] = layer

    def _add_working(self, labels: WorkingLabels) -> PaintedLabels:
        layer = PaintedLabels(
            labels,
            name=WORKING_LABELS,
            colormap=label_colors(self._study.classes),
            opacity=0.4,
            **placement(self._study, self._case),
        )
        self._viewer.add_layer(layer)
        layer.limit_brush(c.value for c in self._study.classes)
        in_plane = [s for k, s in enumerate(self._case.geometry.spacing_mm) if k != self._case.axis]
        layer.brush_size = int(np.clip(round(_BRUSH_MM / min(in_plane)), 3, 40))
        self._viewer.layers.selection.active = layer
        if self._study.writable:
            layer.mode = "paint"
        else:
            layer.editable = False
        return layer


def layer_data(study: Study, case: Case) -> list[tuple[Any, dict[str, Any], str]]:
    """Return the image and the labels of a case as plain layer data, for use without the dock.

    Further channels are layers of their own, which are not shown at first.
    """
    where = placement(study, case)
    colors = label_colors(study.classes)
    labels = np.array(study.labels.working(case.id))
    return [
        *((voxels, {**look, **where}, "image") for voxels, look in _images(study, case)),
        (labels, {"name": f"{case.name} labels", "colormap": colors, **where}, "labels"),
    ]


def _images(study: Study, case: Case) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The voxels of each channel that a case has, and how its layer looks."""
    channels = Channels(case)
    for number, channel in enumerate(case.channels):
        if channel.image is not None:
            yield (
                np.asarray(study.arrays.open(case.id, channels.array)[:]),
                {
                    "name": f"{case.name} {channel.name}" if case.further else case.name,
                    "contrast_limits": contrast_limits(channels.seen),
                    "colormap": "gray",
                    "visible": number == 0,
                },
            )
        channels.go_on()
