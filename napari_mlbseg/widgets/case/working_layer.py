"""The layer that is painted on: napari's, with a brush that knows the classes of the study."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import napari.layers
import numpy as np
from napari.utils.events import Event

_TOOLS = ("paint", "erase", "fill", "polygon")


class Labels(napari.layers.Labels):  # type: ignore[misc]
    """A labels layer that asks somebody else to undo, and paints with classes alone.

    It is named like napari's own because napari finds icon, menu entries and writers of a layer by
    the name of its class.

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
        """Ask for the last step to be undone."""
        self.events.undo_asked()

    def redo(self) -> None:
        """Ask for the step undone last to be done again."""
        self.events.redo_asked()

    def paint_polygon(self, points: Any, new_label: int) -> None:
        """Paint a polygon (n, z y x); napari cuts fractions off, 4.9999 is slice 4 to it."""
        super().paint_polygon(np.round(points), new_label)

    def limit_brush(self, classes: Iterable[int]) -> None:
        """Paint with these values and the background only."""
        self._values = sorted({0, *classes})
        if self.selected_label not in self._values:
            self.selected_label = self._values[min(1, len(self._values) - 1)]

    @property
    def selected_label(self) -> int:
        """The class that is painted with; another value leads to the next class on its side."""
        return int(super().selected_label)

    @selected_label.setter
    def selected_label(self, value: int) -> None:
        allowed = nearest(value, self.selected_label, self._values) if self._values else value
        napari.layers.Labels.selected_label.fset(self, allowed)
        if allowed != value:
            self.events.selected_label()  # a spin box that shows the value learns that it is not

    @property
    def tool(self) -> str:
        """What the mouse does, as a verb."""
        mode = str(self.mode)
        if mode == "paint" and self.selected_label == 0:
            return "erase"
        return mode if mode in _TOOLS else "edit"


def nearest(value: int, current: int, values: Sequence[int]) -> int:
    """The first of some sorted values on the way from `current` to `value` or beyond it.

    `current` where there is none.
    """
    if value > current:
        place = bisect_left(values, value)
        return values[place] if place < len(values) else current
    place = bisect_right(values, value)
    return values[place - 1] if place else current
