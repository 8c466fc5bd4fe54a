"""Interpolation of labels between two slices, by signed distances to the border of each class."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Distances = NDArray[np.float32]
Place = NDArray[np.float64]

_TOUCHING = np.ones((3, 3), np.bool_)


def interpolated(
    first: Labels, last: Labels, shares: Sequence[float], spacing_mm: tuple[float, float]
) -> Iterator[Labels]:
    """Yield the labels on slices between two others.

    Parameters
    ----------
    first, last
        The labels (y x, uint8) on the slices at both ends.
    shares
        How far each slice lies on the way from the first to the last, 0 to 1.
    spacing_mm
        The sides (y x) of a pixel.

    Notes
    -----
    A class that is one piece on both slices moves as a whole from its place on the first to its
    place on the last, so that it may lie anywhere. What only one of them shows tapers off half way.
    Where classes meet, the one whose border is further away wins.
    """
    box = _box((first != 0) | (last != 0))
    a, b = (np.pad(labels[box], 1) for labels in (first, last))
    values = np.setdiff1d(np.union1d(a, b), (0,))
    changing = [_Changing(a == value, b == value, spacing_mm) for value in values]
    whole = changing[0] if len(values) == 1 else _Changing(a != 0, b != 0, spacing_mm)
    for share in shares:
        labels = np.zeros_like(first)
        if len(values):
            depths = np.stack([one.at(share) for one in changing])
            # Classes that grow into one another leave no gap and stay within what all of them show.
            inside = (depths[0] if len(values) == 1 else whole.at(share)) > 0
            if not whole.one_piece:
                inside |= depths.max(axis=0) > 0
            labels[box] = np.where(inside, values[depths.argmax(axis=0)], 0)[1:-1, 1:-1]
        yield labels


class _Changing:
    """A shape on its way from one slice to another; `one_piece` if it is one on both."""

    def __init__(self, first: Mask, last: Mask, spacing_mm: tuple[float, float]) -> None:
        depths = [_depth(mask, spacing_mm) for mask in (first, last)]
        deepest = max(depth.max() for depth in depths)
        # However far away the rest lies, what only one of them shows is gone half way.
        self._first, self._last = (np.maximum(depth, -deepest) for depth in depths)
        self._way: Place = np.zeros(2)
        self.one_piece = all(ndimage.label(mask, _TOUCHING)[1] == 1 for mask in (first, last))
        if self.one_piece:
            ends = [np.array(ndimage.center_of_mass(mask)) for mask in (first, last)]
            self._way = ends[1] - ends[0]

    def at(self, share: float) -> Distances:
        """The distance from the border in mm, positive inside."""
        before = _moved(self._first, share * self._way)
        after = _moved(self._last, (share - 1) * self._way)
        return (1 - share) * before + share * after


def _depth(mask: Mask, spacing_mm: tuple[float, float]) -> Distances:
    """The distance of each pixel to the nearest one on the other side of the border, in mm."""
    if not mask.any():
        return np.full(mask.shape, -np.inf, np.float32)
    inner = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    outer = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    return np.asarray(inner - outer, np.float32)


def _moved(depth: Distances, way: Place) -> Distances:
    if not way.any():
        return depth
    return np.asarray(ndimage.shift(depth, way, order=1, mode="constant", cval=depth.min()))


def _box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box around a mask; an empty one for an empty mask."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    return found[0] if found else (slice(0, 0),) * mask.ndim
