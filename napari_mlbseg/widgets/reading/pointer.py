"""What lies under the pointer: its place in the patient, value, label and trust, in one line."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.volume import Geometry
from napari_mlbseg.widgets.background.task import timer
from napari_mlbseg.widgets.case.annotation import Annotation
from napari_mlbseg.widgets.reading.letters import LETTERS
from napari_mlbseg.widgets.reading.presets import in_hounsfield

_WAIT_MS = 40
Voxel = tuple[int, int, int]


def voxel_at(geometry: Geometry, point_mm: tuple[float, ...]) -> Voxel | None:
    """Return the voxel (z y x) of a case at a point of the view; None outside of the case."""
    place = np.subtract(point_mm, geometry.origin_mm) / geometry.spacing_mm
    z, y, x = (int(v) for v in np.floor(place + 0.5))
    inside = all(0 <= v < n for v, n in zip((z, y, x), geometry.shape, strict=True))
    return (z, y, x) if inside else None


def patient_mm(geometry: Geometry, point_mm: tuple[float, ...]) -> tuple[float, float, float]:
    """Return the RAS position in mm of a point of the view, which shows tilted slices upright."""
    index = np.subtract(point_mm, geometry.origin_mm) / geometry.spacing_mm
    x, y, z = (geometry.display_affine @ (*index, 1.0))[:3]
    return float(x), float(y), float(z)


def in_words(position_mm: tuple[float, float, float]) -> str:
    """Return a RAS position as radiologists write it.

    >>> in_words((-12.34, 5.0, 78.9))
    'L 12.3  A 5.0  S 78.9 mm'
    """
    sides = zip(LETTERS, position_mm, strict=True)
    return "  ".join(f"{side[int(mm > 0)]} {abs(mm):.1f}" for side, mm in sides) + " mm"


class Pointer(QObject):
    """Follows the pointer over a viewer, and says what lies under it.

    Signals
    -------
    told(str)
        The line; empty outside of the case and in 3-D.
    """

    told = Signal(str)

    def __init__(
        self,
        viewer: ViewerModel,
        annotation: Callable[[], Annotation | None],
        classes: Callable[[], Mapping[int, str]],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._annotation, self._classes = viewer, annotation, classes
        self._soon = timer(self, _WAIT_MS, self._tell, single_shot=True)
        self._following = False

    def follow(self) -> None:
        """Follow the pointer from now on."""
        if not self._following:
            self._following = True
            self._viewer.cursor.events.position.connect(self.look)
        self.look()

    def release(self) -> None:
        """Follow it no longer."""
        self._soon.stop()
        if self._following:
            self._following = False
            self._viewer.cursor.events.position.disconnect(self.look)
        self.told.emit("")

    def look(self, event: Any = None) -> None:
        """Say in a moment what lies under the pointer now."""
        if not self._soon.isActive():
            self._soon.start()

    def _tell(self) -> None:
        annotation, line = self._annotation(), ""
        if annotation is not None:
            with suppress(UserError, OSError):  # told by what shows the slice itself
                line = self._line(annotation)
        self.told.emit(line)

    def _line(self, annotation: Annotation) -> str:
        case, layers = annotation.case, annotation.layers
        axis = layers.axis
        if axis is None:
            return ""
        point = list(self._viewer.cursor.position[-3:])
        point[axis] = self._viewer.dims.point[-3:][axis]
        voxel = voxel_at(case.geometry, tuple(point))
        if voxel is None:
            return ""
        parts = [in_words(patient_mm(case.geometry, tuple(point)))]
        channels = layers.channels
        value = annotation.at(channels.array, voxel, self.look)
        if value is not None:
            name = f"{channels.names[channels.place]} " if case.further else ""
            parts.append(f"{name}{value:.5g}{' HU' if in_hounsfield(channels.seen) else ''}")
        label = layers.working.get_value(voxel)  # None where the layer is hidden
        if label is not None:
            names = {0: "background", **self._classes()}
            parts.append(names.get(int(label), str(label)))
        trust = annotation.at(ArrayName.TRUST, voxel, self.look)
        if trust is not None and np.isfinite(trust):
            parts.append(f"trust {trust:.2f}")
        return " · ".join(parts)
