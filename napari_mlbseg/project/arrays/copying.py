"""A case copied from one study into another, with its arrays."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.adding import is_same_image
from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName, ArrayStore
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.volume import Geometry

_IMPORTED = (*CHANNELS, ArrayName.INITIAL_LABELS)


class Stored:
    """An array of a study (z y x) as voxels that come slab by slab."""

    def __init__(self, geometry: Geometry, array: "zarr.Array[Any]", axis: int) -> None:
        self.geometry = geometry
        self._array, self._axis = array, axis

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        return np.dtype(self._array.dtype)

    def slabs(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Display axis, index of the first slice, and slices (z y x)."""
        for start, slab in blocks(self._array, self._axis):
            yield self._axis, start, slab


def blocks(array: "zarr.Array[Any]", axis: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """The first slice along an axis and the slices (z y x) from there on, chunk by chunk."""
    depth, count = array.chunks[axis], array.shape[axis]
    for start in range(0, count, depth):
        yield start, np.asarray(array[plane(axis, start, min(start + depth, count))])


def copy_arrays(case: Case, mine: ArrayStore, theirs: ArrayStore) -> None:
    """Store what another study has of a case; raises UserError without one of its images."""
    axis = case.axis
    for name in _IMPORTED:
        if name in images_of(case) or theirs.has(case.id, name):
            mine.put(case.id, name, Stored(case.geometry, theirs.open(case.id, name), axis), axis)


def copy_predictions(case: Case, mine: ArrayStore, theirs: ArrayStore) -> None:
    """Store what the machine made of a case there."""
    for name in ArrayName:
        if name not in _IMPORTED and theirs.has(case.id, name):
            found = blocks(theirs.open(case.id, name), case.axis)
            moved = ((start, np.moveaxis(block, case.axis, 0)) for start, block in found)
            mine.create(case.id, name, moved, axis=case.axis)


def require_same_image(case: Case, other: Case, mine: ArrayStore, theirs: ArrayStore) -> None:
    """Raise UserError unless two studies have the same voxels at the same place in a case."""
    names = images_of(case)
    same = names == images_of(other) and all(
        is_same_image(
            Stored(other.geometry, theirs.open(other.id, name), other.axis), case, mine, place
        )
        for place, name in enumerate(CHANNELS)
        if name in names
    )
    if not same:
        raise UserError(
            f"Both studies have a case {other.name!r}, but its image differs. Only copies of one "
            "study can be merged; rename the case in one of them before it is imported."
        )


def images_of(case: Case) -> tuple[ArrayName, ...]:
    """The arrays that hold the channels of a case; one that is filled has none."""
    known = zip(CHANNELS, case.channels, strict=False)
    return tuple(name for name, channel in known if channel.image is not None)
