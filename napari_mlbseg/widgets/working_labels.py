"""The labels that somebody paints on, and which slices of them are not saved yet.

Painting is found by comparing with a copy of what is saved, not from paint events: undo and redo
emit none. A slice along display axis `axis` (0 z, 1 y, 2 x) is named by the pair (axis, index).
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
SliceId = tuple[int, int]


def slice_of(axis: int, index: int) -> tuple[slice | int, ...]:
    """Index expression of one slice of a z y x array; the axis itself is dropped."""
    return tuple(index if k == axis else slice(None) for k in range(3))


class WorkingLabels:
    """The painted array of one case and what of it is saved.

    Attributes
    ----------
    voxels
        uint8, z y x. The layer shows this array and napari's tools change it in place. No other
        thread ever writes to it.
    """

    def __init__(self, voxels: Labels) -> None:
        self.voxels = voxels
        self._saved = voxels.copy()
        self._before: dict[SliceId, Labels] = {}
        self._touched: set[SliceId] = set()

    def note_edits(self, axis: int) -> tuple[int, ...]:
        """Indices along `axis` of the slices that differ from what is saved.

        They count as touched from now on, see `touch`.
        """
        edited = self._edited(axis)
        for index in edited:
            self.touch(axis, index)
        return edited

    def touch(self, axis: int, index: int) -> None:
        """No prediction may change this slice any more: the undo history leads through it."""
        self._touched.add((axis, index))
        self._before.setdefault((axis, index), self._saved[slice_of(axis, index)].copy())

    def mark_saved(self, axis: int, index: int) -> None:
        """What the slice shows now is what the study holds."""
        where = slice_of(axis, index)
        self._saved[where] = self.voxels[where]

    def set_before(self, axis: int, index: int, labels: Labels) -> None:
        """The labels that count as the machine's for this slice from now on."""
        self._before[axis, index] = labels.copy()

    def before(self, axis: int, index: int) -> Labels | None:
        """The slice as it was before somebody first changed it; None for an unchanged one."""
        return self._before.get((axis, index))

    def refresh(self, axis: int, start: int, fresh: Labels, human: Iterable[SliceId]) -> None:
        """Take over new machine labels for ``len(fresh)`` slices from `start` on along `axis`.

        Slices with human work, and every slice that the undo history may lead back through, keep
        what they show; where such a slice runs across the others, its voxels are kept in them.

        Parameters
        ----------
        fresh
            The slices stacked on the first axis.
        human
            Slices that hold a person's mask.
        """
        stop = start + len(fresh)
        region = tuple(slice(start, stop) if k == axis else slice(None) for k in range(3))
        kept = np.zeros(self.voxels[region].shape, dtype=bool)
        in_slice = tuple(k for k in range(3) if k != axis)
        unsaved = (self.voxels[region] != self._saved[region]).any(axis=in_slice)
        for offset in np.flatnonzero(unsaved):
            self.touch(axis, start + int(offset))
        for other, index in {*human, *self._touched}:
            if other != axis:
                kept[slice_of(other, index)] = True
            elif start <= index < stop:
                kept[slice_of(axis, index - start)] = True
        new = np.moveaxis(fresh, 0, axis)
        np.copyto(self.voxels[region], new, where=~kept)
        np.copyto(self._saved[region], new, where=~kept)

    def _edited(self, axis: int) -> tuple[int, ...]:
        if axis == 0:
            pairs = zip(self.voxels, self._saved, strict=True)
            return tuple(z for z, (now, then) in enumerate(pairs) if not np.array_equal(now, then))
        hit = np.zeros(self.voxels.shape[axis], dtype=bool)
        for now, then in zip(self.voxels, self._saved, strict=True):
            hit |= (now != then).any(axis=2 - axis)
        return tuple(int(i) for i in np.flatnonzero(hit))
