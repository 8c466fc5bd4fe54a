"""The working labels: the machine's labels, with a person's slices on top.

Only slices with human work are in memory; all others are read from the store. A slice along display
axis `axis` (0 z, 1 y, 2 x) is named by the pair (axis, index).
"""

from collections.abc import Callable, Collection, Container, Iterable, Iterator
from itertools import dropwhile
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.labels import Labels, SliceId, laid_over
from napari_mlbseg.project.records.masks import plane


class WorkingLabels:
    """Labels of one case as the data of a layer; napari's tools read and write parts of them.

    Attributes
    ----------
    axis
        Display axis of the slices that are written to.
    stayed
        How many pixels writes have left as they were so far, because their class is locked.
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
        touched: Callable[[SliceId], object] | None = None,
        edited: Callable[[], object] | None = None,
        locked: Callable[[], Collection[int]] = tuple,
    ) -> None:
        """Begin with the slices of a study.

        Parameters
        ----------
        machine
            Returns a fresh copy of the machine's slice (axis, index).
        human, mask
            Slices with a person's mask, the later one on top where two cross; and a function that
            reads a mask.
        touched, edited
            Called before a slice changes, and after every write.
        locked
            Returns the classes whose pixels no edit replaces.
        """
        self.shape = shape
        self.size = prod(shape)
        self.axis = 0
        self._machine = machine
        self._mask = mask
        self._touched = touched
        self._edited = edited
        self._locked = locked
        self.stayed = 0
        # From the bottom to the top.
        self._planes: dict[SliceId, Labels | None] = dict.fromkeys(human)
        # The saved labels of slices that were written to since they were saved.
        self._saved: dict[SliceId, Labels] = {}

    def read(self, axis: int, index: int) -> Labels:
        """Return a copy of one slice."""
        return self._composed(axis, index, self._planes)

    def edits(self) -> tuple[SliceId, ...]:
        """Return the slices with unsaved edits."""
        return tuple(key for key in sorted(self._saved) if self.edited(key))

    def edited(self, key: SliceId) -> bool:
        """Whether a slice has unsaved edits."""
        return key in self._saved and not np.array_equal(self._plane(key), self._saved[key])

    def own(self, key: SliceId) -> Labels | None:
        """Return a copy of a person's labels of a slice, without those across; None if none."""
        return self._plane(key).copy() if key in self._planes else None

    def above(self, key: SliceId) -> tuple[SliceId, ...]:
        """Return the slices that cross a person's slice and lie over it, from bottom to top."""
        known = list(self._planes)
        upper = known[known.index(key) + 1 :] if key in self._planes else []
        return tuple(other for other in upper if other[0] != key[0])

    def persons(self, axis: int, index: int) -> NDArray[np.bool_]:
        """Return which pixels of a slice show a person's labels: its own, or of slices across."""
        return self.across(axis, index) | ((axis, index) in self._planes)

    def across(self, axis: int, index: int) -> NDArray[np.bool_]:
        """Return which pixels of a slice lie on a person's slices along other axes."""
        mask = np.zeros([n for k, n in enumerate(self.shape) if k != axis], np.bool_)
        for other, at in self._planes:
            if other != axis:
                mask[plane(other - (other > axis), at)[:2]] = True
        return mask

    @property
    def locked(self) -> frozenset[int]:
        """The classes whose pixels no edit replaces."""
        return frozenset(self._locked())

    def sparing(self, key: SliceId, labels: Labels) -> Labels:
        """Return labels for a slice, with the pixels of locked classes as the slice shows them."""
        return self._spared(self.read(*key), labels) if self.locked else labels

    def over(self, axis: int, index: int, machine: Callable[[], Labels]) -> Labels:
        """Return a slice with a person's slices over what `machine` returns (a fresh copy)."""
        return self._composed(axis, index, self._planes, machine)

    def beneath(self, key: SliceId) -> Labels:
        """Return what a slice shows without a person's labels of its own."""
        others = [other for other in self._planes if other != key]
        return self._composed(*key, others)

    def lay(self, key: SliceId, labels: Labels, *, below: Container[SliceId] = ()) -> None:
        """Give a slice saved labels, on top of all other slices except those in `below`."""
        self.release(*key)
        upper = list(dropwhile(lambda other: other not in below, self._planes))
        self._planes[key] = labels.copy()
        for other in upper:
            self._planes[other] = self._planes.pop(other)

    def release(self, axis: int, index: int) -> None:
        """Show the machine's labels of a slice again."""
        self._planes.pop((axis, index), None)
        self._saved.pop((axis, index), None)

    def discard_edits(self) -> None:
        """Show the saved labels of every slice again."""
        for key in self.edits():
            self._planes[key] = self._saved.pop(key)

    # --- what napari asks for ------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        """Return a copy of a part."""
        key = _expanded(key)
        if _is_points(key):
            return self._read_points(key)
        if not _is_basic(key):
            return np.asarray(self)[key]
        ranges = self._ranges(key)
        # Slices across those in the store cost most, and the box of a brush is thin.
        axis = min(range(3), key=lambda k: (len(ranges[k]) != 1, k != self.axis))
        inside = tuple(part for k, part in enumerate(key) if k != axis)
        if not isinstance(key[axis], slice):
            return self.read(axis, ranges[axis][0])[inside]
        slices = [self.read(axis, index)[inside] for index in ranges[axis]]
        dropped = sum(not isinstance(part, slice) for part in key[:axis])
        empty = np.empty((0, *self.read(axis, 0)[inside].shape), self.dtype)
        return np.stack(slices, axis - dropped) if slices else np.moveaxis(empty, 0, axis - dropped)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write a part; slices whose labels do not change are not touched."""
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

    def _composed(
        self,
        axis: int,
        index: int,
        planes: Iterable[SliceId],
        machine: Callable[[], Labels] | None = None,
    ) -> Labels:
        sides = enumerate(self.shape)
        z, y, x = (slice(index, index + 1) if k == axis else slice(0, n) for k, n in sides)
        slab = laid_over(
            lambda: np.expand_dims(machine() if machine else self._machine(axis, index), axis),
            (z, y, x),
            planes,
            self._plane,
        )
        return slab.squeeze(axis)

    def _spared(self, shown: Labels, wanted: Any) -> Labels:
        return np.where(np.isin(shown, list(self.locked)), shown, wanted).astype(np.uint8)

    def _plane(self, key: SliceId) -> Labels:
        labels = self._planes[key]
        if labels is None:
            assert self._mask is not None
            labels = self._planes[key] = self._mask(key)
        return labels

    def _touch(self, key: SliceId) -> Labels:
        """Bring a slice into memory, on top of those that cross it, for a change."""
        if self._touched is not None:
            self._touched(key)
        labels = self.read(*key)
        self._saved.setdefault(key, labels.copy())
        self._planes.pop(key, None)
        self._planes[key] = labels
        return labels

    def _write(self, index: int, inside: Any, value: Any) -> None:
        key = self.axis, index
        shown = self.read(*key)[inside]
        if self.locked:
            wanted, value = value, self._spared(shown, value)
            self.stayed += int(np.count_nonzero(value != wanted))
        if not np.array_equal(shown, value):
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
    """Extend a key to three entries, if its kind allows it."""
    parts = key if isinstance(key, tuple) else (key,)
    if any(part is Ellipsis or getattr(part, "ndim", 0) > 1 for part in parts):
        return parts
    return (*parts, *[slice(None)] * (3 - len(parts)))


def _is_basic(key: tuple[Any, ...]) -> bool:
    # Negative steps, like everything else that napari never uses, take the slow path.
    return len(key) == 3 and all(
        isinstance(part, int | np.integer) and part >= 0
        if not isinstance(part, slice)
        else (part.step or 1) > 0
        for part in key
    )


def _is_points(key: tuple[Any, ...]) -> bool:
    """Whether a key is three index arrays of the same shape."""
    return (
        len(key) == 3
        and all(isinstance(p, np.ndarray) and p.dtype.kind in "iu" and p.ndim == 1 for p in key)
        and len({p.shape for p in key}) == 1
        and all(p.size == 0 or p.min() >= 0 for p in key)
    )
