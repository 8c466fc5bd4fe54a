"""The layer to paint on: napari's labels layer, with a brush limited to the study's classes."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import napari.layers
import numpy as np
from napari.utils.events import Event

_TOOLS = ("paint", "erase", "fill", "polygon")


class Labels(napari.layers.Labels):  # type: ignore[misc]
    """A labels layer that passes undo and redo on, and paints only with the study's classes.

    Its class has the same name as napari's own, because napari finds the icon, menu entries and
    writers of a layer by the name of its class.

    Events
    ------
    undo_asked, redo_asked
        Somebody pressed the key, or called the method.
    """

    def __init__(self, data: Any, **look: Any) -> None:
        super().__init__(data, **look)
        self._values: Sequence[int] = ()
        self.events.add(undo_asked=Event, redo_asked=Event)

    def undo(self) -> None:
        """Ask to undo the last step."""
        self.events.undo_asked()

    def redo(self) -> None:
        """Ask to redo the step that was undone last."""
        self.events.redo_asked()

    def paint_polygon(self, points: Any, new_label: int) -> None:
        """Paint a polygon (n, z y x) on rounded points: napari would put 4.9999 on slice 4."""
        super().paint_polygon(np.round(points), new_label)

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
    def tool(self) -> str:
        """The tool in use, as a verb."""
        mode = str(self.mode)
        if mode == "paint" and self.selected_label == 0:
            return "erase"
        return mode if mode in _TOOLS else "edit"


def nearest(value: int, current: int, values: Sequence[int]) -> int:
    """Return the first of the sorted values from `value` on, away from `current`.

    Returns `current` if there is none.
    """
    if value > current:
        place = bisect_left(values, value)
        return values[place] if place < len(values) else current
    place = bisect_right(values, value)
    return values[place - 1] if place else current
