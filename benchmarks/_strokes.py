"""One stroke of a simulated annotator along an error of a slice."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

FEWEST_PIXELS = 30
HALF_WIDTH = 1.5
"""Of a stroke, in pixels."""
DEEP = 0.4
"""The middle of an error is where it is at least so deep, as a share of its depth."""
TOUCHING = np.ones((3, 3), np.bool_)


class Hand(Protocol):
    def __call__(self, error: Mask, true: Labels) -> Mask:
        """The pixels of a stroke within an error of a slice (y x)."""


def largest_error(true: Labels, shown: Labels, fewest: int = FEWEST_PIXELS) -> Mask | None:
    """The largest piece that shows the wrong label, of one true label; None if all are small."""
    pieces = []
    for value in np.unique(true):
        parts, count = ndimage.label((true != shown) & (true == value), TOUCHING)
        sizes = np.bincount(parts.ravel(), minlength=2)
        sizes[0] = 0
        if count:
            pieces.append((int(sizes.max()), parts == sizes.argmax()))
    size, piece = max(pieces, key=lambda found: found[0], default=(0, None))
    return piece if size >= fewest else None


def middle_line(error: Mask) -> Mask:
    """The line in the middle of an error, without its way into corners."""
    line = np.asarray(skeletonize(error))  # type: ignore[no-untyped-call]
    depth = ndimage.distance_transform_edt(error)
    return np.asarray(line & (depth >= DEEP * depth.max()))


def along_the_middle(error: Mask, true: Labels) -> Mask:
    """A thin stroke along the middle of an error."""
    away = ndimage.distance_transform_edt(~middle_line(error))
    return np.asarray(error & (away <= HALF_WIDTH))


def along_the_true_border(error: Mask, true: Labels) -> Mask:
    """A thin stroke just inside the true border, on the far side of an error."""
    inside = ndimage.distance_transform_edt(true == true[error][0])
    return np.asarray(error & (inside <= HALF_WIDTH + 1))


HANDS: Mapping[str, Hand] = {
    "middle": along_the_middle,
    "true border": along_the_true_border,
}
