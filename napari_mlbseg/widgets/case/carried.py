"""What stays when another case is shown: where the eye is, and the grey levels that it sees."""

from dataclasses import dataclass
from typing import Self

from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.volume import Geometry

Limits = tuple[float, float]

_ALIKE = 0.5


@dataclass(frozen=True)
class Framing:
    """What part of a slice is on view; lengths in mm.

    Attributes
    ----------
    zoom
        Screen pixels per mm.
    center
        The middle of the view, along the two displayed axes.
    """

    zoom: float
    center: tuple[float, float]

    @classmethod
    def of(cls, viewer: ViewerModel) -> Self:
        """Return the present framing."""
        camera = viewer.scene.camera
        _, y, x = camera.center
        return cls(float(camera.zoom), (float(y), float(x)))

    def moved(self, axis: int, before: Geometry, now: Geometry) -> "Framing":
        """Return the same part of a slice across `axis` of another case, seen from its middle."""
        down, right = (k for k in range(3) if k != axis)
        was, new = _middle_mm(before), _middle_mm(now)
        y, x = self.center
        return Framing(self.zoom, (y + new[down] - was[down], x + new[right] - was[right]))

    def show(self, viewer: ViewerModel) -> None:
        """Look at this part."""
        camera = viewer.scene.camera
        camera.center = (camera.center[0], *self.center)
        camera.zoom = self.zoom


def contrast_limits(case: Case) -> tuple[float, float]:
    """Return the intensities shown as black and as white; valid for constant images too."""
    low, high = case.intensity.low, case.intensity.high
    return low, high if high > low else low + 1.0


def carried_limits(chosen: Limits, before: Limits, now: Limits) -> Limits:
    """Return the grey levels to show of a case, after those chosen for the case before.

    `before` and `now` are what the cases show of themselves. Where nothing was chosen the case
    shows itself. Intensities that mean the same in both cases (CT) stay as they are; others (MR, in
    arbitrary units) are scaled along.
    """
    if chosen == before:
        return now
    common = min(before[1], now[1]) - max(before[0], now[0])
    whole = max(before[1], now[1]) - min(before[0], now[0])
    if common >= _ALIKE * whole:
        return chosen
    by = (now[1] - now[0]) / (before[1] - before[0])
    low, high = (now[0] + by * (value - before[0]) for value in chosen)
    return low, high


def _middle_mm(geometry: Geometry) -> tuple[float, ...]:
    each = zip(geometry.origin_mm, geometry.spacing_mm, geometry.shape, strict=True)
    return tuple(origin + spacing * (count - 1) / 2 for origin, spacing, count in each)


def window_of(layer: Image) -> Limits:
    """Return the grey levels that are shown as black and as white."""
    low, high = layer.contrast_limits
    return float(low), float(high)


def place(layer: Layer, spacing_mm: tuple[float, ...], origin_mm: tuple[float, ...]) -> None:
    """Put a layer where the patient lies; nothing is computed where it lies there already."""
    if tuple(layer.scale) != spacing_mm:
        layer.scale = spacing_mm
    if tuple(layer.translate) != origin_mm:
        layer.translate = origin_mm
