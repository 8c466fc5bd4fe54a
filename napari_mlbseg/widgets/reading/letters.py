"""Letters at the edges of the canvas that say where the patient's right, front and head are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from napari.components import ViewerModel
from napari.components.overlays import TextOverlay
from numpy.typing import ArrayLike

from napari_mlbseg.volume import Geometry

LETTERS = ("LR", "PA", "IS")
"""For each RAS axis the letters towards lower and towards higher positions."""

_TILTED = 0.25
"""Cosine from which a direction gets a second letter: about 15 degrees."""
_KEY = "mlbseg_letter_"
_POINTS = 14


class Edges(NamedTuple):
    """What lies at each edge of the canvas."""

    top: str
    bottom: str
    left: str
    right: str


_PLACES = Edges("top_center", "bottom_center", "middle_left", "middle_right")


def towards(direction: ArrayLike) -> str:
    """Return the letters of a direction (x y z in RAS): one, or two if it is tilted.

    >>> towards((0, -1, 0))
    'P'
    >>> towards((-0.9, 0, 0.44))
    'LS'
    """
    vector = np.asarray(direction, np.float64)
    vector = vector / (np.linalg.norm(vector) or 1.0)
    order = np.argsort(-np.abs(vector), kind="stable")
    seen = [k for place, k in enumerate(order[:2]) if abs(vector[k]) > (_TILTED if place else 0)]
    return "".join(LETTERS[k][int(vector[k] > 0)] for k in seen)


def edge_letters(geometry: Geometry, shown: Sequence[int], runs: Sequence[str]) -> Edges:
    """Return the letters at the edges of a slice.

    Parameters
    ----------
    shown
        The display axes (0 z, 1 y, 2 x) that run down or up, and across.
    runs
        Where they run: "down" or "up", and "right" or "left".
    """
    columns = geometry.display_affine[:3, :3]
    down = columns[:, shown[0]] * (1 if str(runs[0]) == "down" else -1)
    right = columns[:, shown[1]] * (1 if str(runs[1]) == "right" else -1)
    return Edges(towards(-down), towards(down), towards(-right), towards(right))


class EdgeLetters:
    """The letters on the canvas of a viewer, while slices are shown in 2-D."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._geometry: Geometry | None = None

    def show(self, geometry: Geometry) -> None:
        """Show the letters of a case, in place of those of another one."""
        if self._geometry is None:
            for event in self._events():
                event.connect(self._refresh)
        self._geometry = geometry
        self._refresh()

    def release(self) -> None:
        """Take the letters away."""
        if self._geometry is not None:
            self._geometry = None
            for event in self._events():
                event.disconnect(self._refresh)
        overlays = self._viewer.canvas.overlays
        for edge in Edges._fields:
            overlays.pop(_KEY + edge, None)

    def _events(self) -> tuple[Any, ...]:
        dims, camera = self._viewer.dims.events, self._viewer.scene.camera.events
        return dims.order, dims.ndisplay, camera.orientation

    def _refresh(self, event: Any = None) -> None:
        geometry, viewer = self._geometry, self._viewer
        if geometry is None:
            return
        dims = viewer.dims
        flat = dims.ndisplay == 2 and dims.ndim >= 3
        shown = [axis - (dims.ndim - 3) for axis in dims.displayed]
        flat = flat and min(shown) >= 0
        runs = viewer.scene.camera.orientation2d
        letters = edge_letters(geometry, shown, runs) if flat else Edges("", "", "", "")
        for edge, text, place in zip(Edges._fields, letters, _PLACES, strict=True):
            overlay = viewer.canvas.overlays.get(_KEY + edge)
            if overlay is None:
                overlay = TextOverlay(text=text, position=place, font_size=_POINTS, visible=flat)
                viewer.canvas.overlays[_KEY + edge] = overlay
            overlay.text, overlay.visible = text, flat
