"""Answer at once: a slice labelled again, from a few strokes along what was wrong.

A stroke that lies within an error says two things. Towards the labels that were there already, all
is wrong up to them: a stroke of background in a class that reaches too far takes what lies between
the stroke and the background. Away from them it is not known where the error ends, so that the
stroke spreads half as far as it lies from them; it goes on less easily across edges of the image,
and twice as far where another source (prediction, proposed or initial labels) shows its class.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.graph import MCP_Geometric
from skimage.morphology import skeletonize

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Lengths = NDArray[np.float64]
Spacing = tuple[float, float]

REACH_MM: Final = 10.0
"""No pixel changes that lies further from the strokes, and nothing further off is looked at."""
_FURTHER: Final = 0.5
"""How far a stroke spreads away from its class, as a share of how far it lies from it."""
_BORNE_OUT: Final = 1.0
"""The same where another source shows its class."""
_ALONE: Final = 4.0
"""What stands for that distance if it is out of reach, in halves of the width of the stroke."""
_SLACK_PIXELS: Final = 1.5
"""How much longer than the shortest way a way may be that still lies between."""
_CALM_PIXELS: Final = 1.0
"""The standard deviation of the smoothing before edges are looked for."""
_IMPASSABLE: Final = -1.0
_TOUCHING: Final = np.ones((3, 3), np.bool_)


def answered(
    before: Labels,
    shown: Labels,
    image: NDArray[np.generic],
    spacing_mm: Spacing,
    others: Sequence[Labels] = (),
) -> Labels:
    """Return the labels of a slice after strokes on it.

    What differs between `before` and `shown` are the strokes. They stay as they are, every pixel
    that changes hangs on to a stroke of its new class, and without strokes nothing changes.

    Parameters
    ----------
    before, shown
        The labels (y x, uint8) before the strokes and with them.
    image
        The intensities of the slice.
    spacing_mm
        The sides (y x) of a pixel.
    others
        Other labels of the slice that may bear a stroke out: prediction, proposed and initial ones.
    """
    strokes = before != shown
    if not strokes.any():
        return shown.copy()
    box = _box_around(strokes, spacing_mm)
    labels, was, marked = shown[box], before[box], strokes[box]
    effort = _effort(image[box])
    nearest = np.full(labels.shape, np.inf)
    found = labels.copy()
    for value in np.unique(labels[marked]):
        stroke = marked & (labels == value)
        borne_out = np.zeros(labels.shape, np.bool_)
        for other in others:
            borne_out |= other[box] == value
        claimed, way = _claimed(stroke, was == value, effort, borne_out, spacing_mm)
        claimed &= ~marked & (way < nearest)
        found[claimed] = value
        nearest[claimed] = way[claimed]
    result = shown.copy()
    result[box] = _hanging_on(labels, found, marked)
    return result


def _claimed(
    stroke: Mask, there: Mask, effort: Lengths, borne_out: Mask, spacing_mm: Spacing
) -> tuple[Mask, Lengths]:
    """What strokes of one class claim, and how long the way from them is; `there` it was before."""
    line = np.asarray(skeletonize(stroke))  # type: ignore[no-untyped-call]
    pixel = min(spacing_mm)
    from_line, nearest = ndimage.distance_transform_edt(
        ~line, sampling=spacing_mm, return_indices=True
    )
    from_there = np.full(stroke.shape, np.inf)
    if there.any():
        from_there = ndimage.distance_transform_edt(~there, sampling=spacing_mm)
    gap = from_there[tuple(nearest)]
    alone = gap > REACH_MM
    width = ndimage.distance_transform_edt(np.pad(stroke, 1), sampling=spacing_mm)[1:-1, 1:-1]
    gap = np.where(alone, _ALONE * width[tuple(nearest)], gap)
    within = np.where(from_line <= REACH_MM, effort, _IMPASSABLE)
    way, _ = MCP_Geometric(within, sampling=spacing_mm).find_costs(np.argwhere(line))
    between = ~alone & (from_line + from_there <= gap + _SLACK_PIXELS * pixel)
    share = np.where(borne_out, _BORNE_OUT, _FURTHER)
    beyond = way <= share * gap - pixel / 2
    return (between | beyond) & (from_line <= REACH_MM), np.asarray(way)


def _effort(image: NDArray[np.generic]) -> Lengths:
    """How hard it is to cross each pixel: 1 where the image is even, more on its edges."""
    calm = ndimage.gaussian_filter(np.asarray(image, np.float64), _CALM_PIXELS, mode="nearest")
    slope = np.hypot(*(ndimage.sobel(calm, axis, mode="nearest") for axis in (0, 1)))
    usual = float(np.median(slope))
    if usual <= 0:
        usual = float(slope.mean()) or 1.0
    return np.asarray(np.maximum(slope / usual, 1.0))


def _hanging_on(labels: Labels, found: Labels, marked: Mask) -> Labels:
    """Labels as found, but only where what changes touches a stroke of the same class."""
    kept = labels.copy()
    for value in np.unique(labels[marked]):
        stroke = marked & (labels == value)
        parts, _ = ndimage.label(stroke | (found == value) & (labels != value), _TOUCHING)
        kept[np.isin(parts, np.unique(parts[stroke]))] = value
    return kept


def _box_around(strokes: Mask, spacing_mm: Spacing) -> tuple[slice, slice]:
    """The box with everything that strokes reach, and what they are compared with."""
    rows, columns = ndimage.find_objects(strokes.astype(np.uint8))[0]
    down, across = (int(2 * REACH_MM / side) + 1 for side in spacing_mm)
    return (
        slice(max(rows.start - down, 0), rows.stop + down),
        slice(max(columns.start - across, 0), columns.stop + across),
    )
