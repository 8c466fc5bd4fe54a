"""Where a person worked on a case: voxels that stay as they are."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.project.records.slices import SliceState
from napari_mlbseg.project.tidying.slabs import Shape, Window

FREE: Final = 0
"""The machine's: a voxel that may change."""

EDITED: Final = 1
"""A person's, on a draft: it stays."""

SEEN: Final = 2
"""A person's, on a clean slice: it stays, and so does every piece and hole that it shows."""

_CODES: Final = {SliceState.DRAFT: EDITED, SliceState.CLEAN: SEEN}


class PersonsSlices:
    """`FREE`, `EDITED` or `SEEN` for each voxel (uint8, z y x) of a case, read window by window.

    Parameters
    ----------
    shape
        Shape of the case (z y x).
    slices
        Display axis, index and state of drafts and clean slices; where slices cross, the later one
        is on top.
    """

    def __init__(self, shape: Shape, slices: Iterable[tuple[int, int, SliceState]]) -> None:
        self.shape = shape
        self._slices = [(axis, index, _CODES[state]) for axis, index, state in slices]

    def __getitem__(self, window: Window) -> NDArray[np.uint8]:
        """A fresh copy of a window."""
        sides = [range(*part.indices(n)) for part, n in zip(window, self.shape, strict=True)]
        found = np.zeros([len(side) for side in sides], np.uint8)
        for axis, index, code in self._slices:
            if index in sides[axis]:
                found[plane(axis, index - sides[axis].start)] = code
        return found
