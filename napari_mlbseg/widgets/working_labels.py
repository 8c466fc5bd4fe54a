"""The labels that somebody paints on: the machine's, with slices of a person's laid over them.

Only slices that hold human work, or through which the undo history leads, are in memory; all
others are the machine's as the store has them. A slice along display axis `axis` (0 z, 1 y, 2 x)
is named by the pair (axis, index).
"""

from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
SliceId = tuple[int, int]


class WorkingLabels:
    """Labels of one case as the data of a layer; napari's tools read and write parts of it.

    Every write is seen here, undo and redo too, which napari has no events for.

    Attributes
    ----------
    axis
        What is written belongs to slices along this display axis.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(
        self,
        shape: tuple[int, int, int],
        machine: Callable[[int, int], Labels],
        *,
        human: Iterable[SliceId] = (),
        mask: Callable[[SliceId], Labels] | None = None,
        edited: Callable[[], object] | None = None,
    ) -> None:
        """Begin with the slices of a study.

        Parameters
        ----------
        machine
            A fresh copy of the machine's slice (axis, index).
        human, mask
            Slices with a person's mask, the later one on top where they cross, and what reads one.
        edited
            Called after every write.
        """
        self.shape = shape
        self.size = prod(shape)
        self.axis = 0
        self._machine = machine
        self._mask = mask
        self._edited = edited
        self._planes: dict[SliceId, Labels | None] = dict.fromkeys(human)
        self._saved: dict[SliceId, Labels] = {}
        self._before: dict[SliceId, Labels] = {}
        self._touched: set[SliceId] = set()

    def read(self, axis: int, index: int) -> Labels:
        """One slice, a copy."""
        key = axis, index
        above = list(self._planes)
        if key in self._planes:
            labels = self._plane(key).copy()
            above = above[above.index(key) + 1 :]
        else:
            labels = self._machine(axis, index)
        for other in above:
            if other[0] != axis:
                labels[_line(axis, other)] = self._plane(other)[_line(other[0], key)]
        return labels

    def edits(self) -> tuple[SliceId, ...]:
        """The slices that differ from what is saved."""
        return tuple(
            key
            for key in sorted(self._touched)
            if not np.array_equal(self._plane(key), self._saved[key])
        )

    def hold(self, axis: int, index: int) -> None:
        """Keep a slice as it is shown, whatever the machine says from now on."""
        key = axis, index
        if key not in self._planes:
            labels = self.read(axis, index)
            self._before.setdefault(key, labels.copy())
            self._saved.setdefault(key, labels.copy())
            self._planes[key] = labels

    def release(self, axis: int, index: int) -> None:
        """Show the machine's labels of a slice again, unless the undo history leads through it."""
        if (axis, index) not in self._touched:
            for kept in (self._planes, self._saved, self._before):
                kept.pop((axis, index), None)

    def mark_saved(self, axis: int, index: int) -> None:
        """What the slice shows now is what the study holds."""
        if (axis, index) in self._planes:
            self._saved[axis, index] = self._plane((axis, index)).copy()

    def discard_edits(self) -> None:
        """Show of every slice what is saved."""
        for key in self.edits():
            self._planes[key] = self._saved[key].copy()

    def set_before(self, axis: int, index: int, labels: Labels) -> None:
        """The labels that count as the machine's for this slice from now on."""
        self._before[axis, index] = labels.copy()

    def before(self, axis: int, index: int) -> Labels | None:
        """The slice as it was before somebody first changed it; None for an unchanged one."""
        return self._before.get((axis, index))

    # --- what napari asks for ------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        """A part, as a copy."""
        key = _expanded(key)
        if _is_points(key):
            return self._read_points(key)
        if not _is_basic(key):
            return np.asarray(self)[key]
        ranges = self._ranges(key)
        # Slices across those that the store holds cost most, and a box of a brush is thin.
        axis = min(range(3), key=lambda k: (len(ranges[k]) != 1, k != self.axis))
        inside = tuple(part for k, part in enumerate(key) if k != axis)
        if not isinstance(key[axis], slice):
            return self.read(axis, ranges[axis][0])[inside]
        slices = [self.read(axis, index)[inside] for index in ranges[axis]]
        dropped = sum(not isinstance(part, slice) for part in key[:axis])
        empty = np.empty((0, *self.read(axis, 0)[inside].shape), self.dtype)
        return np.stack(slices, axis - dropped) if slices else np.moveaxis(empty, 0, axis - dropped)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write a part; slices whose labels stay the same are not touched."""
        key = _expanded(key)
        if _is_points(key):
            self._write_points(key, value)
        elif _is_basic(key):
            self._write_box(key, np.asarray(value))
        else:
            changed = np.asarray(self)
            changed[key] = value
            self._write_box((slice(None),) * 3, changed)
        if self._edited is not None:
            self._edited()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :, :], dtype=dtype)

    def __deepcopy__(self, memo: object) -> Labels:
        return np.asarray(self)  # for napari's "duplicate layer"

    # --- inside --------------------------------------------------------------------------------

    def _plane(self, key: SliceId) -> Labels:
        labels = self._planes[key]
        if labels is None:
            assert self._mask is not None
            labels = self._planes[key] = self._mask(key)
        return labels

    def _touch(self, key: SliceId) -> Labels:
        """The slice in memory, on top of those that cross it, to be changed."""
        known = key in self._planes
        if known and key not in self._touched:
            self._saved[key] = self._plane(key).copy()
            self._before.setdefault(key, self._machine(*key))
        self.hold(*key)
        if known:
            labels = self.read(*key)
            del self._planes[key]
            self._planes[key] = labels
        self._touched.add(key)
        return self._plane(key)

    def _write(self, index: int, inside: Any, value: Any) -> None:
        key = self.axis, index
        if not np.array_equal(self.read(*key)[inside], value):
            self._touch(key)[inside] = value

    def _write_box(self, key: tuple[Any, ...], value: NDArray[Any]) -> None:
        ranges = self._ranges(key)
        kept = tuple(len(r) for r, part in zip(ranges, key, strict=True) if isinstance(part, slice))
        box = np.broadcast_to(value, kept).reshape([len(r) for r in ranges])
        inside = tuple(
            slice(r.start, r.stop, r.step) for k, r in enumerate(ranges) if k != self.axis
        )
        for place, index in enumerate(ranges[self.axis]):
            self._write(index, inside, box.take(place, self.axis))

    def _ranges(self, key: tuple[Any, ...]) -> list[range]:
        whole = (slice(int(p), int(p) + 1) if not isinstance(p, slice) else p for p in key)
        return [range(*p.indices(n)) for p, n in zip(whole, self.shape, strict=True)]

    def _read_points(self, key: tuple[NDArray[Any], ...]) -> Labels:
        found = np.empty(np.shape(key[0]), self.dtype)
        for index, chosen, inside in self._by_slice(key):
            found[chosen] = self.read(self.axis, index)[inside]
        return found

    def _write_points(self, key: tuple[NDArray[Any], ...], value: Any) -> None:
        values = np.broadcast_to(value, np.shape(key[0]))
        for index, chosen, inside in self._by_slice(key):
            self._write(index, inside, values[chosen])

    def _by_slice(
        self, key: tuple[NDArray[Any], ...]
    ) -> Iterator[tuple[int, NDArray[np.bool_], tuple[NDArray[Any], ...]]]:
        for index in np.unique(key[self.axis]).tolist():
            chosen = np.asarray(key[self.axis] == index)
            yield index, chosen, tuple(part[chosen] for k, part in enumerate(key) if k != self.axis)


def _expanded(key: Any) -> tuple[Any, ...]:
    """Three entries, where the key is of a kind that has them."""
    parts = key if isinstance(key, tuple) else (key,)
    if any(part is Ellipsis or getattr(part, "ndim", 0) > 1 for part in parts):
        return parts
    return (*parts, *[slice(None)] * (3 - len(parts)))


def _is_basic(key: tuple[Any, ...]) -> bool:
    # Negative steps, like everything else that napari never asks for, go the long way.
    return len(key) == 3 and all(
        isinstance(part, int | np.integer) and part >= 0
        if not isinstance(part, slice)
        else (part.step or 1) > 0
        for part in key
    )


def _is_points(key: tuple[Any, ...]) -> bool:
    """Three arrays of indices of one shape."""
    return (
        len(key) == 3
        and all(isinstance(p, np.ndarray) and p.dtype.kind in "iu" and p.ndim == 1 for p in key)
        and len({p.shape for p in key}) == 1
        and all(p.size == 0 or p.min() >= 0 for p in key)
    )


def _line(axis: int, crossing: SliceId) -> tuple[slice | int, ...]:
    """Index, in a slice along `axis`, of the line in which another slice crosses it."""
    return tuple(crossing[1] if k == crossing[0] else slice(None) for k in range(3) if k != axis)
