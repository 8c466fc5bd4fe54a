"""Outlines of a mask as closed polygons without holes."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Polygon = NDArray[np.float64]
"""Corners (row, column) in pixels; pixel centres are integers. The last differs from the first."""

_HALF: Final = 0.5


def polygons_of(mask: NDArray[np.bool_]) -> list[Polygon]:
    """One polygon for each island of a mask (pixels that share an edge).

    Edges run halfway between pixels inside and outside, so that a pixel belongs to the mask if
    and only if its centre is inside. A hole is joined to the outer contour by a channel without
    width (the keyhole of the DICOM standard), on which no pixel centre lies.
    """
    islands, _ = ndimage.label(mask)
    polygons = []
    for number, window in enumerate(ndimage.find_objects(islands), 1):
        island = np.pad(islands[window] == number, 1)
        rim, holes = _rim_and_holes(island)
        start = np.array([part.start - 1 for part in window], np.float64)
        polygons.append(_joined(rim, holes) + start)
    return polygons


def _rim_and_holes(island: NDArray[np.bool_]) -> tuple[Polygon, list[Polygon]]:
    from skimage.measure import find_contours

    lines: list[Polygon] = find_contours(  # type: ignore[no-untyped-call]
        island.astype(np.float64), _HALF
    )
    found = [line[:-1] for line in lines]
    found.sort(key=lambda line: -abs(_area(line)))
    return found[0], found[1:]


def _joined(rim: Polygon, holes: list[Polygon]) -> Polygon:
    """The outer contour with every hole inserted where it is nearest to what was joined before."""
    for hole in holes:
        here, there = _channel(rim, hole)
        around = np.roll(hole, -there, axis=0)
        # To the hole, around it, back to its first corner, and back to the outer contour.
        rim = np.concatenate([rim[: here + 1], around, around[:1], rim[here:]])
    return rim


def _channel(rim: Polygon, hole: Polygon) -> tuple[int, int]:
    """A corner of each that are close together, with no pixel centre on the line between them.

    Corners lie halfway between two pixels of a row or of a column. A line from one kind to the
    other meets no centre: integer rows and integer columns would have to be at even and at odd
    multiples of one length along it.
    """
    found = []
    for kind in (True, False):
        ends = np.flatnonzero(_in_a_row(rim) == kind)
        starts = np.flatnonzero(_in_a_row(hole) != kind)
        distances, nearest = cKDTree(rim[ends]).query(hole[starts])
        best = int(np.argmin(distances))
        found.append((float(distances[best]), int(ends[nearest[best]]), int(starts[best])))
    return min(found)[1:]


def _in_a_row(line: Polygon) -> NDArray[np.bool_]:
    """Whether corners lie between two pixels of a row."""
    return np.asarray(line[:, 0] % 1 == 0)


def _area(line: Polygon) -> float:
    """Signed area in pixels, by the shoelace formula."""
    after: NDArray[Any] = np.roll(line, -1, axis=0)
    return float((line[:, 0] * after[:, 1] - line[:, 1] * after[:, 0]).sum() / 2)
