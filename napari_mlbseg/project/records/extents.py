"""Extents: the first and the last slice that show a class in a case, as a person marked them.

Outside its extent a class is excluded: the slices there are certified not to show it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.volume import Geometry

Excluded = Mapping[int, NDArray[np.bool_]]
"""For each class (by its value) with a marked end: which slices along an axis are outside."""

Certified = Mapping[tuple[str, int], NDArray[np.bool_]]
"""For a case (by its name) and a display axis: which slices are certified to show no class."""


class End(StrEnum):
    """One end of an extent, in the order of the display axis."""

    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True)
class Extent:
    """The first and the last slice that show a class along a display axis; None if not marked.

    >>> Extent(first=2, last=3).excluded(6).tolist()
    [True, True, False, False, True, True]
    >>> Extent(last=3).widened([1, 5])
    Extent(first=None, last=5)
    """

    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        if self.first is not None and self.last is not None and self.first > self.last:
            raise UserError(
                f"A class cannot begin at slice {self.first} and end before it, at {self.last}. "
                "Choose other slices, or take one of the two marks away."
            )

    def at(self, end: End) -> int | None:
        """The slice that is marked as an end."""
        return self.first if end is End.FIRST else self.last

    def moved(self, end: End, index: int | None) -> "Extent":
        """The same with an end at another slice; None takes the mark away."""
        return replace(self, first=index) if end is End.FIRST else replace(self, last=index)

    def holds(self, index: int) -> bool:
        """Whether a slice is not outside."""
        after = self.first is None or self.first <= index
        return after and (self.last is None or index <= self.last)

    def widened(self, shown: Iterable[int]) -> "Extent":
        """The same with its marked ends moved outwards, so that these slices lie inside."""
        found = list(shown)
        first = None if self.first is None else min([self.first, *found])
        last = None if self.last is None else max([self.last, *found])
        return Extent(first, last)

    def excluded(self, count: int) -> NDArray[np.bool_]:
        """Which of `count` slices lie outside."""
        index = np.arange(count)
        first = 0 if self.first is None else self.first
        last = count if self.last is None else self.last
        return np.asarray((index < first) | (index > last))


UNMARKED = Extent()


@dataclass(frozen=True)
class ExtentRecord:
    """What a person last marked of a class (by its value) in a case along a display axis."""

    case_id: str
    axis: int
    value: int
    extent: Extent
    author: str
    created_at: datetime


def effective(
    marked: Mapping[int, Extent], clean: Iterable[tuple[int, frozenset[int]]]
) -> dict[int, Extent]:
    """The extents that count: as marked, but never narrower than the clean slices.

    A clean slice that shows a class is a more specific word of the same person. It is taken into
    account whenever extents are read, so that reopening the slice restores the mark.

    Parameters
    ----------
    marked
        The marked extent of each class.
    clean
        The clean slices along the same axis: index, and the values in its mask.
    """
    shown = list(clean)
    return {
        value: extent.widened(index for index, values in shown if value in values)
        for value, extent in marked.items()
        if extent != UNMARKED
    }


def excluded(extents: Mapping[int, Extent], count: int) -> Excluded:
    """Which of `count` slices are outside the extent of each class."""
    return {value: extent.excluded(count) for value, extent in extents.items()}


def empty_by(found: Excluded, classes: Iterable[int], count: int) -> NDArray[np.bool_]:
    """Which slices are certified to show none of the classes (by their values)."""
    values = list(classes)
    if not values or not found.keys() >= set(values):
        return np.zeros(count, dtype=np.bool_)
    return np.asarray(np.all([found[value] for value in values], axis=0))


def unknown_ends(
    classes: Iterable[int],
    extents: Mapping[int, Extent],
    clean: Iterable[tuple[int, frozenset[int]]],
) -> Mapping[End, tuple[int, ...]]:
    """For each end, the classes of which nothing says where they stop on that side.

    A marked end says so, and so does a clean slice without the class beyond all clean slices that
    show it.

    Parameters
    ----------
    classes
        The values of the classes.
    extents
        The extents that count.
    clean
        The clean slices along the axis: index, and the values in its mask.

    Examples
    --------
    >>> found = unknown_ends([1], {1: Extent(last=8)}, [(4, frozenset({1})), (2, frozenset({1}))])
    >>> found[End.FIRST], found[End.LAST]
    ((1,), ())
    """
    values, found = list(classes), list(clean)

    def known(value: int, end: End) -> bool:
        if extents.get(value, UNMARKED).at(end) is not None:
            return True
        shown = [index for index, values in found if value in values]
        blank = [index for index, values in found if value not in values]
        if not shown or not blank:
            return False
        return min(blank) < min(shown) if end is End.FIRST else max(blank) > max(shown)

    return {end: tuple(value for value in values if not known(value, end)) for end in End}


def in_file(geometry: Geometry, axis: int, extent: Extent) -> Extent:
    """The same extent of a display axis, along the axis of the file's array that it stands for.

    Along an axis that is shown the other way round, the last slice of the file comes first.
    """
    first, last = (
        None if index is None else geometry.file_index(axis, index)
        for index in (extent.first, extent.last)
    )
    return Extent(last, first) if geometry.flipped[axis] else Extent(first, last)


def from_file(geometry: Geometry, file_axis: int, extent: Extent) -> Extent:
    """The extent along the display axis; the inverse of `in_file`."""
    first, last = (
        None if index is None else geometry.display_index(file_axis, index)
        for index in (extent.first, extent.last)
    )
    flipped = geometry.flipped[geometry.display_axis(file_axis)]
    return Extent(last, first) if flipped else Extent(first, last)


def clear_excluded(
    labels: NDArray[np.uint8],
    window: tuple[slice, slice, slice],
    excluded_along: Mapping[int, Excluded],
) -> None:
    """Set classes to background on the slices where they are excluded, in place.

    Parameters
    ----------
    labels
        Labels (z y x) in the window.
    window
        Where they lie in the case: a range along each axis.
    excluded_along
        What is excluded along each display axis.
    """
    for axis, found in excluded_along.items():
        along = np.moveaxis(labels, axis, 0)
        for value, outside in found.items():
            for place in np.flatnonzero(outside[window[axis]]):
                along[place][along[place] == value] = 0
