"""The working labels: the machine's labels with a person's slices on top.

The machine's labels are the prediction, else the initial labels, else background; they never show
a class outside its extent. On top are the masks of drafts and clean slices, in order of revision:
where slices cross, the later one shows.
Whole arrays, windows of a stored case and the slices of a layer are all composed here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.arrays.chunks import Shape
from napari_mlbseg.project.arrays.store import ArrayName, ArrayStore
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.catalogue.extents import Extents
from napari_mlbseg.project.catalogue.revisions import Slices
from napari_mlbseg.project.records.extents import Excluded, clear_excluded
from napari_mlbseg.project.records.masks import plane

Labels = NDArray[np.uint8]
SliceId = tuple[int, int]
"""A slice of a known case: display axis (0 z, 1 y, 2 x) and index along it."""

Window = tuple[slice, slice, slice]
"""A part of an array (z y x): a range along each axis."""

_ALL: Final = (slice(None), slice(None), slice(None))
_OF_THE_MACHINE: Final = (ArrayName.PREDICTION, ArrayName.INITIAL_LABELS)


def machine_array(has: Callable[[ArrayName], bool]) -> ArrayName | None:
    """The array that holds the machine's labels: the first that exists; None for background."""
    return next((name for name in _OF_THE_MACHINE if has(name)), None)


def laid_over(
    machine: Callable[[], Labels],
    window: Window,
    slices: Iterable[SliceId],
    mask: Callable[[SliceId], Labels],
) -> Labels:
    """The working labels in a window.

    Parameters
    ----------
    machine
        Returns a fresh copy of the machine's labels (z y x) in the window; called only if some of
        them may show.
    window
        Ranges with a start and a stop, of step 1.
    slices
        Slices with a person's mask, from the lowest to the uppermost.
    mask
        Returns the whole mask of a slice; called only if the slice crosses the window.
    """
    first, last = [part.start for part in window], [part.stop for part in window]
    thin = [stop - start == 1 for start, stop in zip(first, last, strict=True)]
    crossing = [(k, i) for k, i in slices if first[k] <= i < last[k]]
    filling = [n for n, (k, _) in enumerate(crossing) if thin[k]]
    if filling:  # everything under the uppermost of these is hidden
        crossing = crossing[filling[-1] :]
        labels = np.empty([part.stop - part.start for part in window], np.uint8)
    else:
        labels = machine()
    for axis, index in crossing:
        inside = tuple(part for k, part in enumerate(window) if k != axis)
        labels[plane(axis, index - window[axis].start)] = mask((axis, index))[inside]
    return labels


class MachineLabels:
    """Labels that the machine made of a case, read window by window; background without an array.

    No class shows where it is excluded.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        arrays: ArrayStore,
        case_id: str,
        shape: Shape,
        name: ArrayName | None,
        excluded: Mapping[int, Excluded],
    ) -> None:
        """`excluded` holds what is excluded along each display axis."""
        self._array = None if name is None else arrays.open(case_id, name)
        self._excluded = excluded
        self.shape = shape

    def __getitem__(self, window: Window) -> Labels:
        """A fresh copy of a window."""
        if self._array is not None:
            labels = np.array(self._array[window], np.uint8)
            clear_excluded(labels, window, self._excluded)
            return labels
        sides = (range(*part.indices(n)) for part, n in zip(window, self.shape, strict=True))
        return np.zeros([len(side) for side in sides], np.uint8)


class WorkingLabels:
    """The working labels of a case, read window by window; masks are read when needed.

    Attributes
    ----------
    human
        The drafts and clean slices that they show, from the lowest to the uppermost.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, machine: MachineLabels, slices: Slices, case_id: str) -> None:
        self.shape = machine.shape
        self._machine, self._slices = machine, slices
        self.human = slices.human(case_id)
        self._revisions: dict[SliceId, int] = {
            (record.key.axis, record.key.index): record.revision for record in self.human
        }

    def __getitem__(self, window: Window) -> Labels:
        """A fresh copy of a window."""
        bounds = (part.indices(n) for part, n in zip(window, self.shape, strict=True))
        z, y, x = (slice(start, max(start, stop)) for start, stop, _ in bounds)
        where = z, y, x
        return laid_over(lambda: self._machine[where], where, self._revisions, self._mask)

    def _mask(self, where: SliceId) -> Labels:
        return self._slices.revision_mask(self._revisions[where])


class StudyLabels:
    """The machine's labels and the working labels of each case, as arrays or by windows."""

    def __init__(
        self, arrays: ArrayStore, slices: Slices, catalogue: Catalogue, extents: Extents
    ) -> None:
        self._arrays, self._slices, self._catalogue = arrays, slices, catalogue
        self._extents = extents

    def machine(self, case_id: str) -> Labels:
        """The prediction (z y x), else the initial labels, else background; within the extents."""
        return self.machine_windows(case_id)[_ALL]

    def working(self, case_id: str) -> Labels:
        """The machine's labels (z y x) with drafts and clean slices on top, later over earlier."""
        return self.windows(case_id)[_ALL]

    def windows(self, case_id: str) -> WorkingLabels:
        """The working labels of a case, to be read in parts if they may not fit in memory."""
        return WorkingLabels(self.machine_windows(case_id), self._slices, case_id)

    def machine_windows(self, case_id: str) -> MachineLabels:
        """The machine's labels of a case, to be read in parts."""
        name = machine_array(lambda name: self._arrays.has(case_id, name))
        return self._within_extents(case_id, name)

    def prediction_windows(self, case_id: str) -> MachineLabels:
        """The prediction of a case within the extents, to be read in parts."""
        return self._within_extents(case_id, ArrayName.PREDICTION)

    def _within_extents(self, case_id: str, name: ArrayName | None) -> MachineLabels:
        shape, excluded = self._catalogue.shape(case_id), self._extents.excluded_along(case_id)
        return MachineLabels(self._arrays, case_id, shape, name, excluded)


def along(axis: int, start: int, stop: int) -> Window:
    """The slices ``start <= index < stop`` along a display axis."""
    z, y, x = (slice(start, stop) if k == axis else slice(None) for k in range(3))
    return z, y, x
