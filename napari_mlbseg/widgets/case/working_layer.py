"""The layer to paint on: napari's labels layer, with a brush limited to the study's classes."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import napari.layers
import numpy as np
from napari.utils.events import Event
from numpy.typing import NDArray

from napari_mlbseg.widgets.tools.smart_brush import smart_dab

_LEFT: Final = 1
_STILL: Final = "pan_zoom"
_STEADY_PIXELS: Final = 4
"""How far a hand may move the mouse between the press and the release of a click."""
_TOOLS = ("paint", "erase", "fill", "polygon")


class Labels(napari.layers.Labels):  # type: ignore[misc]
    """A labels layer that passes undo and redo on, and paints only with the study's classes.

    Its class has the same name as napari's own, because napari finds the icon, menu entries and
    writers of a layer by the name of its class.

    Attributes
    ----------
    intensities
        Returns the image of a slice (display axis, index), for the smart brush.

    Events
    ------
    undo_asked, redo_asked
        Somebody pressed the key, or called the method.
    tool_changed
        The smart brush or "fix region" was switched on or off.
    region_clicked
        A click while "fix region" is on; `place` (z y x) is a voxel, `modifiers` are the keys held.
    """

    intensities: Callable[[int, int], NDArray[Any]]

    def __init__(self, data: Any, **look: Any) -> None:
        super().__init__(data, **look)
        self._values: Sequence[int] = ()
        self._smart = self._fixing = False
        self.events.add(
            undo_asked=Event, redo_asked=Event, tool_changed=Event, region_clicked=Event
        )
        self.events.mode.connect(self._on_mode)
        self.mouse_drag_callbacks.append(_click)

    def undo(self) -> None:
        """Ask to undo the last step."""
        self.events.undo_asked()

    def redo(self) -> None:
        """Ask to redo the step that was undone last."""
        self.events.redo_asked()

    def paint_polygon(self, points: Any, new_label: int) -> None:
        """Paint a polygon (n, z y x) on rounded points: napari would put 4.9999 on slice 4."""
        with self._showing_what_stayed():
            super().paint_polygon(np.round(points), new_label)

    def fill(self, coord: Sequence[float], new_label: int, refresh: bool = True) -> None:
        """Fill a region from a voxel (z y x) on, except where a class is locked."""
        with self._showing_what_stayed():
            super().fill(coord, new_label, refresh)

    def drop_polygon(self) -> None:
        """Forget the corners of a polygon that is half drawn."""
        self._overlays["polygon"].points = []

    def limit_brush(self, classes: Iterable[int]) -> None:
        """Paint only with these values and the background."""
        self._values = sorted({0, *classes})
        if self.selected_label not in self._values:
            self.selected_label = self._values[min(1, len(self._values) - 1)]

    @property
    def selected_label(self) -> int:
        """The class to paint with; other values lead to the next class in their direction."""
        return int(super().selected_label)

    @selected_label.setter
    def selected_label(self, value: int) -> None:
        allowed = nearest(value, self.selected_label, self._values) if self._values else value
        napari.layers.Labels.selected_label.fset(self, allowed)
        if allowed != value:
            self.events.selected_label()  # so that a spin box showing the value goes back

    @property
    def smart(self) -> bool:
        """Whether the brush paints only what looks like its centre; the eraser stays exact."""
        return self._smart

    @smart.setter
    def smart(self, on: bool) -> None:
        self._smart = on
        if on:
            self.mode = "paint"
        self.events.tool_changed()

    @property
    def fixing(self) -> bool:
        """Whether a click fixes a region; choosing a tool of napari's ends it."""
        return self._fixing

    @fixing.setter
    def fixing(self, on: bool) -> None:
        self.mode = _STILL if on else "paint"
        self._fixing = on
        if on:
            self.cursor = "crosshair"
        self.events.tool_changed()

    def paint(self, coord: Sequence[float], new_label: int, refresh: bool = True) -> None:
        """Paint a dab around a voxel (z y x); a smart one lies on the slice on view alone."""
        with self._showing_what_stayed():
            if self.smart and new_label != 0:
                self._paint_smartly(coord, new_label, refresh)
            else:
                super().paint(coord, new_label, refresh)

    def _paint_smartly(self, coord: Sequence[float], new_label: int, refresh: bool) -> None:
        axis, place = self.data.axis, [round(float(c)) for c in coord]
        if not 0 <= place[axis] < self.data.shape[axis]:
            return
        y, x = (c for k, c in enumerate(place) if k != axis)
        sides = [abs(float(s)) for k, s in enumerate(self.scale) if k != axis]
        radius = (self.brush_size // 2 + 0.5) * min(sides)
        image = self.intensities(axis, place[axis])
        found = list(smart_dab(image, (y, x), radius, (sides[0], sides[1])))
        found.insert(axis, np.full(len(found[0]), place[axis]))
        if self.preserve_labels:
            free = self.data[tuple(found)] == 0
            found = [part[free] for part in found]
        self.data_setitem(tuple(found), new_label, refresh)

    @contextmanager
    def _showing_what_stayed(self) -> Iterator[None]:
        """Draw the slice again where a locked class stayed: napari shows what it meant to paint."""
        before = self.data.stayed
        yield
        if self.data.stayed != before:
            self.refresh(thumbnail=False, highlight=False, extent=False)

    def _on_mode(self, event: Event) -> None:
        if self._fixing and str(self.mode) != _STILL:
            self._fixing = False
            self.events.tool_changed()

    @property
    def tool(self) -> str:
        """The tool in use, as a verb."""
        mode = str(self.mode)
        if mode == "paint" and self.selected_label == 0:
            return "erase"
        return mode if mode in _TOOLS else "edit"


def _click(layer: Labels, event: Any) -> Iterator[None]:
    """Tell of a click while a click fixes a region; a drag moves the view."""
    if not layer.fixing or event.button != _LEFT:
        return
    start, place = np.array(event.pos), layer.world_to_data(event.position)
    modifiers = frozenset(event.modifiers)
    yield
    while event.type == "mouse_move":
        yield
    if np.linalg.norm(np.array(event.pos) - start) <= _STEADY_PIXELS:
        layer.events.region_clicked(
            place=tuple(round(float(c)) for c in place[-3:]), modifiers=modifiers
        )


def nearest(value: int, current: int, values: Sequence[int]) -> int:
    """Return the first of the sorted values from `value` on, away from `current`.

    Returns `current` if there is none.
    """
    if value > current:
        place = bisect_left(values, value)
        return values[place] if place < len(values) else current
    place = bisect_right(values, value)
    return values[place - 1] if place else current
