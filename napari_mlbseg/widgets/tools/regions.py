"""A region around a place, on one slice and through its neighbours."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]

_TOUCHING = np.ones((3, 3), np.bool_)


def region(
    marked: Callable[[int], Mask], index: int, place: tuple[int, int], within: range
) -> dict[int, Mask]:
    """Return the connected component of marked pixels around a place, slice by slice.

    Pixels touch by a face, an edge or a corner.

    Parameters
    ----------
    marked
        Returns which pixels (y x) of a slice are marked; asked once for each slice that the
        component or its surroundings reach.
    index, place
        The slice and the pixel (y x) to begin with.
    within
        The slices that the component may reach.

    Returns
    -------
    dict
        The pixels of the component on each slice that it reaches; empty if the place is not marked.
    """
    parts: dict[int, NDArray[np.int32]] = {}

    def parts_of(slice_index: int) -> NDArray[np.int32]:
        if slice_index not in parts:
            parts[slice_index] = ndimage.label(marked(slice_index), _TOUCHING)[0]
        return parts[slice_index]

    start = int(parts_of(index)[place])
    reached = {(index, start)} if start else set()
    waiting = list(reached)
    while waiting:
        at, part = waiting.pop()
        around = ndimage.binary_dilation(parts_of(at) == part, _TOUCHING)
        for beside in {at - 1, at + 1} & set(within):
            touched = np.unique(parts_of(beside)[around])
            new = {(beside, int(number)) for number in touched if number} - reached
            reached |= new
            waiting += new
    return {
        at: np.isin(parts[at], [part for where, part in reached if where == at])
        for at in sorted({where for where, _ in reached})
    }
