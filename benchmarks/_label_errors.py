"""Ways in which imported labels are wrong, each a function of the true labels of a case.

Lengths are in voxels of the file, in the slices across the annotated axis.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from _corruption import corrupt_volume
from numpy.typing import NDArray
from scipy import ndimage

BY = 4
SHIFT = (5, -3)

Labels = NDArray[np.uint8]
Error = Callable[[Labels, int, int], Labels]
"""From true labels (z y x), the annotated axis and a seed to wrong labels."""


def grown(labels: Labels, axis: int, seed: int, *, by: int = BY) -> Labels:
    """Every class dilated within each slice; the larger value wins."""
    found = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        found[ndimage.binary_dilation(labels == value, _disc(by, axis))] = value
    return found


def shrunk(labels: Labels, axis: int, seed: int, *, by: int = BY) -> Labels:
    """Every class eroded within each slice."""
    found = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        found[ndimage.binary_erosion(labels == value, _disc(by, axis))] = value
    return found


def shifted(labels: Labels, axis: int, seed: int) -> Labels:
    """Everything moved within the slices, in every case alike."""
    by = list(SHIFT)
    by.insert(axis, 0)
    return np.asarray(ndimage.shift(labels, by, order=0), dtype=np.uint8)


def thin_parts_missing(labels: Labels, axis: int, seed: int) -> Labels:
    """Every class opened within each slice: what is thinner than twice the radius is gone."""
    found = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        found[ndimage.binary_opening(labels == value, _disc(BY, axis))] = value
    return found


def a_third_missing(labels: Labels, axis: int, seed: int) -> Labels:
    """The last third of the slices that show a class is empty."""
    found = np.moveaxis(labels.copy(), axis, 0)
    for value in np.unique(labels[labels > 0]):
        shown = np.flatnonzero((found == value).any(axis=(1, 2)))
        late = found[shown[-(len(shown) // 3) :]]
        late[late == value] = 0
        found[shown[-(len(shown) // 3) :]] = late
    return np.moveaxis(found, 0, axis)


def a_neighbour_merged(labels: Labels, axis: int, seed: int) -> Labels:
    """A ball as large as the class touches it and has its label."""
    found = labels.copy()
    for value in np.unique(labels[labels > 0]):
        places = np.argwhere(labels == value)
        radius = (3 * len(places) / (4 * np.pi)) ** (1 / 3) / 2
        corner = places[np.argmax(places @ np.array([1.0, 1.0, 1.0]))]
        far = np.linalg.norm(np.indices(labels.shape).T - (corner + radius / 2)[None], axis=-1).T
        found[(far < radius) & (labels == 0)] = value
    return found


def wrong_slices(labels: Labels, axis: int, seed: int, *, share: float) -> Labels:
    """A share of the slices wrong by the recipe of L2B."""
    return corrupt_volume(labels, axis, share=share, seed=seed)


def wrong_class(labels: Labels, axis: int, seed: int) -> Labels:
    """Classes 1 and 2 are taken for each other in a third of the cases."""
    return np.array([0, 2, 1], np.uint8)[labels] if seed % 3 == 0 else labels


def halves(labels: Labels, axis: int) -> Labels:
    """Class 1 in two classes: beyond its middle along the last axis within slices it is class 2."""
    across = np.moveaxis(labels.copy(), 2 if axis != 2 else 1, 0)
    places = np.flatnonzero((across > 0).any(axis=(1, 2)))
    beyond = across[(places[0] + places[-1] + 1) // 2 :]
    beyond[beyond > 0] = 2
    return np.moveaxis(across, 0, 2 if axis != 2 else 1)


ERRORS: Mapping[str, Error] = {
    "grown": grown,
    "shrunk": shrunk,
    "shifted": shifted,
    "thin parts missing": thin_parts_missing,
    "a third missing": a_third_missing,
    "a neighbour merged": a_neighbour_merged,
    "wrong class": wrong_class,
    "L2B 40 %": partial(wrong_slices, share=0.4),
    "L2B 100 %": partial(wrong_slices, share=1.0),
    "none": lambda labels, axis, seed: labels,
}


def counted(
    imported: list[Labels], true: list[Labels], *, most: int = 8
) -> tuple[tuple[int, int], int]:
    """The shift and the growth (both in pixels) that bring slices nearest to their truth.

    Found one after the other, and each once more, by the number of pixels that differ.
    """
    shift, by = (0, 0), 0
    span = range(-most, most + 1)
    for _ in range(2):
        shift = min(
            ((y, x) for y in span for x in span), key=lambda s: _wrong(imported, true, s, by)
        )
        by = min(span, key=lambda n: _wrong(imported, true, shift, n))
    return shift, by


def corrected(mask: Labels, shift: tuple[int, int], by: int) -> Labels:
    """A slice (y x) shifted, then every class grown or, for a negative number, shrunk."""
    moved = np.asarray(ndimage.shift(mask, shift, order=0), dtype=np.uint8)
    if by == 0:
        return moved
    change: Any = ndimage.binary_dilation if by > 0 else ndimage.binary_erosion
    found = np.zeros_like(moved)
    for value in np.unique(moved[moved > 0]):
        found[change(moved == value, _disc(abs(by), None))] = value
    return found


def _wrong(imported: list[Labels], true: list[Labels], shift: tuple[int, int], by: int) -> int:
    pairs = zip(imported, true, strict=True)
    return sum(int((corrected(a, shift, by) != b).sum()) for a, b in pairs)


def _disc(radius: int, axis: int | None) -> NDArray[np.bool_]:
    disc = np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) <= radius
    return disc if axis is None else np.expand_dims(disc, axis)
