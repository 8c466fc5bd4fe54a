"""The part of a case in which there are labels at all, slab by slab."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.tidying.components import Looked
from napari_mlbseg.project.tidying.persons import FREE
from napari_mlbseg.project.tidying.slabs import Slabs, Windows, count_of, read_slab


class Looking:
    """The smallest box that holds all labels (whole slabs along the axis of the slabs).

    What lies outside is background, so whatever is at the border of the box is connected with the
    border of the case.

    Parameters
    ----------
    labels
        The labels of the case.
    persons
        Whose each voxel is (`FREE`, `EDITED`, `SEEN`; z y x); None where all are the machine's.
    """

    def __init__(self, labels: Slabs, persons: Windows | None) -> None:
        self._labels, self._persons = labels, persons
        across = [n for k, n in enumerate(labels.shape) if k != labels.axis]
        rows, columns = (np.zeros(n, bool) for n in across)
        used = []
        for number in range(count_of(labels)):
            some = labels.slab(number) != 0
            if some.any():
                used.append(number)
                rows |= some.any(axis=(0, 2))
                columns |= some.any(axis=(0, 1))
        self._first = used[0] if used else 0
        self.slabs = used[-1] + 1 - self._first if used else 0
        self._box = slice(None), _span(rows), _span(columns)
        self._changed: set[int] = set()

    @property
    def changed(self) -> tuple[int, ...]:
        """The slices that were changed, along the axis of the slabs."""
        return tuple(sorted(self._changed))

    def look(self, number: int) -> Looked:
        """The labels in a slab of the box, from 0, and whose its voxels are."""
        labels = self._labels.slab(self._first + number)[self._box]
        if self._persons is None:
            return labels, np.full(labels.shape, FREE, np.uint8)
        return labels, read_slab(self._persons, self._first + number, self._labels)[self._box]

    def change(self, number: int, where: NDArray[np.bool_], values: Any) -> None:
        """Replace the labels at some voxels of a slab of the box."""
        slab = self._labels.slab(self._first + number).copy()
        slab[self._box][where] = values
        start = (self._first + number) * self._labels.thick
        self._changed.update((start + np.flatnonzero(where.any(axis=(1, 2)))).tolist())
        self._labels.put(self._first + number, slab)


def _span(used: NDArray[np.bool_]) -> slice:
    (found,) = np.nonzero(used)
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)
