"""Clean-up of one class, on a slice or in a volume.

Labels are uint8 (y x, or z y x), `value` is the class, and new labels are returned. Pixels that the
class loses get the label beside them, so that a structure inside another one leaves no gap. Pieces
touch by a face, an edge or a corner. Lengths are in mm, as `spacing_mm` (in the same order) is; by
`step_mm` a border moves, by default by a pixel.
"""

from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Spacing = tuple[float, ...]

_ROUNDING = 1 + 1e-6


def one_pixel_mm(spacing_mm: Spacing) -> float:
    """The width of a pixel; of its longer side if it is not square, so that both sides move."""
    return max(spacing_mm)


def grow(labels: Labels, value: int, spacing_mm: Spacing, step_mm: float | None = None) -> Labels:
    """Let a class grow by a step into the background; other classes stay."""
    mask = labels == value
    if not mask.any():
        return labels.copy()
    away = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    near = away <= (step_mm or one_pixel_mm(spacing_mm)) * _ROUNDING
    return _with(labels, near & (labels == 0), value)


def shrink(labels: Labels, value: int, spacing_mm: Spacing, step_mm: float | None = None) -> Labels:
    """Let a class shrink by a step; it does not move away from the rim of the image."""
    mask = labels == value
    if mask.all():
        return labels.copy()
    depth = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    return _without(labels, mask & (depth <= (step_mm or one_pixel_mm(spacing_mm)) * _ROUNDING))


def smooth(labels: Labels, value: int, spacing_mm: Spacing, step_mm: float | None = None) -> Labels:
    """Round off the border of a class, in both directions; specks and gaps of a pixel go."""
    mask = labels == value
    sigma = [(step_mm or one_pixel_mm(spacing_mm)) / side for side in spacing_mm]
    smoothed = ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode="nearest") > 0.5
    return _with(_without(labels, mask & ~smoothed), smoothed, value)


def fill_holes(labels: Labels, value: int) -> Labels:
    """Fill the background that a class encloses; a hole belongs to the innermost class around."""
    room = _room(labels, value)
    holes = (labels == 0) & (room > 0)
    for other in np.setdiff1d(labels, (0, value)):
        closer = _room(labels, int(other))
        holes &= (closer == 0) | (closer > room)
    return _with(labels, holes, value)


def remove_islands(labels: Labels, value: int, below: float, spacing_mm: Spacing) -> Labels:
    """Remove the pieces of a class below a size, in mm² or mm³; the largest one stays."""
    pieces, sizes = _pieces(labels == value)
    small = sizes * prod(spacing_mm) < below
    small[0] = small[sizes.argmax()] = False
    return _without(labels, small[pieces])


def keep_largest(labels: Labels, value: int) -> Labels:
    """Keep the largest piece of a class."""
    pieces, sizes = _pieces(labels == value)
    return _without(labels, (pieces != 0) & (pieces != sizes.argmax()))


def _pieces(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The number of the piece of each pixel, and the pixels in each piece; 0 is no piece."""
    pieces, _ = ndimage.label(mask, np.ones((3,) * mask.ndim, np.bool_))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces, sizes


def _room(labels: Labels, value: int) -> NDArray[np.int64]:
    """For each pixel the size of the room around it that a class walls in; 0 if it is open."""
    rooms, count = ndimage.label(labels != value)
    sizes = np.bincount(rooms.ravel(), minlength=count + 1)
    for axis in range(rooms.ndim):
        for end in (0, -1):
            sizes[np.unique(rooms.take(end, axis))] = 0
    sizes[0] = 0
    return np.asarray(sizes[rooms])


def _with(labels: Labels, where: Mask, value: int) -> Labels:
    return np.where(where, np.uint8(value), labels)


def _without(labels: Labels, lost: Mask) -> Labels:
    """Give pixels of one class the label of the nearest pixel of another."""
    if not lost.any():
        return labels.copy()
    mask = labels == labels[lost][0]
    if mask.all():
        return np.where(lost, np.uint8(0), labels)
    nearest = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    return np.where(lost, labels[tuple(nearest)], labels)
