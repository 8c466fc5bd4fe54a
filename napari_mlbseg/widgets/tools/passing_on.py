"""A correction passed on to neighbouring slices, as far as image and labels agree."""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Intensities = NDArray[np.float64]

_TOUCHING: Final = np.ones((3, 3), np.bool_)
_CALM_PIXELS: Final = 1.0
"""The standard deviation of the smoothing before images are compared."""
_WINDOW_PIXELS: Final = 9
"""The side of the window around a pixel in which image and labels have to agree."""
_SAME_LABELS: Final = 0.9
"""The share of the window that shows the labels of the first slice, at least."""
_SPREADS: Final = 1.0
"""How far all in the window may be off, in standard deviations that are usual there."""
_AT_MOST: Final = 2.0
"""How far a single intensity may be off, as a multiple of what all in the window may."""
_FEWEST_PIXELS: Final = 16
"""Smaller pieces of a correction are not passed on: they hardly repeat from slice to slice."""
_LEAST_SHARE: Final = 0.5
"""How much of a piece of the correction has to agree, for any of it to be passed on."""


def passed_on(
    before: Labels,
    after: Labels,
    image: NDArray[np.generic],
    following: Iterable[tuple[Labels, NDArray[np.generic], Mask]],
) -> Iterator[Labels]:
    """Yield the labels of the slices that follow, until one does not take the correction.

    A pixel is corrected as on the first slice if it was corrected on the slice before, may change,
    shows the label that was corrected, and looks like the first slice all around: labels and image.
    So a correction ends where the border that it corrects has moved on. A piece that is small, or
    of which little is left, is not passed on at all.

    Parameters
    ----------
    before, after
        The labels (y x, uint8) of the first slice before and after its correction.
    image
        The intensities of the first slice.
    following
        The slices that follow: the labels that they show, their intensities, and which pixels may
        change.
    """
    changed = before != after
    if not changed.any():
        return
    calm = _calm(image)
    near = _SPREADS * float(np.median(_spread(calm)[changed]))
    parts, count = ndimage.label(changed, _TOUCHING)
    for shown, other, free in following:
        off = np.abs(_calm(other) - calm)
        alike = (off <= _AT_MOST * near) & (_mean(off) <= near)
        alike &= _mean(shown == before) >= _SAME_LABELS
        alike &= free & (shown == before)
        changed = _mostly(changed & alike, parts, count)
        if not changed.any():
            return
        yield np.where(changed, after, shown)


def _mean(values: NDArray[np.generic]) -> Intensities:
    return np.asarray(
        ndimage.uniform_filter(np.asarray(values, np.float64), _WINDOW_PIXELS, mode="nearest")
    )


def _spread(values: Intensities) -> Intensities:
    """The standard deviation in the window around each pixel."""
    return np.asarray(np.sqrt(np.maximum(_mean(values**2) - _mean(values) ** 2, 0.0)))


def _mostly(alike: Mask, parts: NDArray[np.int32], count: int) -> Mask:
    """What is alike of the pieces of a correction of which most is alike."""
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    left = np.bincount(parts[alike], minlength=count + 1)
    kept = (sizes >= _FEWEST_PIXELS) & (left >= _LEAST_SHARE * sizes)
    kept[0] = False
    return np.asarray(kept[parts] & alike)


def _calm(image: NDArray[np.generic]) -> Intensities:
    return np.asarray(
        ndimage.gaussian_filter(np.asarray(image, np.float64), _CALM_PIXELS, mode="nearest")
    )
