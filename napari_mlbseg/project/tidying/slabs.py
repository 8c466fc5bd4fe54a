"""The labels of a case in slabs, kept so that they can be changed: as an array, or compressed."""

import zlib
from collections.abc import Iterator
from math import prod
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

SLAB_VOXELS: Final = 1 << 22
"""About how many voxels are looked at together; what is known of them takes 32 bytes a voxel."""

_LEVEL: Final = 1

Shape = tuple[int, int, int]
Window = tuple[slice, slice, slice]


class Windows(Protocol):
    """Voxels (z y x) that are read window by window, as of an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole."""

    def __getitem__(self, window: Window, /) -> Any:
        """A window, given by a range along each axis."""


class Slabs(Protocol):
    """The labels of a case, slab by slab (slices rows columns), where the slices lie along `axis`.

    Attributes
    ----------
    shape
        Shape of the case (z y x).
    axis
        The display axis along which the slabs follow each other.
    thick
        Slices of a slab; the last one may be thinner.
    """

    shape: Shape
    axis: int
    thick: int

    def slab(self, number: int) -> NDArray[Any]:
        """One slab, which is not to be changed."""

    def put(self, number: int, slab: NDArray[Any]) -> None:
        """Replace a slab."""


def count_of(slabs: Slabs) -> int:
    """How many slabs there are."""
    return -(-slabs.shape[slabs.axis] // slabs.thick)


def read_slab(voxels: Windows, number: int, slabs: Slabs) -> NDArray[Any]:
    """The same slab (slices rows columns) of other voxels of the case."""
    start = number * slabs.thick
    stop = min(start + slabs.thick, slabs.shape[slabs.axis])
    z, y, x = (slice(start, stop) if k == slabs.axis else slice(0, n) for k, n in _sides(slabs))
    return np.moveaxis(np.asarray(voxels[z, y, x]), slabs.axis, 0)


def _sides(slabs: Slabs) -> Iterator[tuple[int, int]]:
    return enumerate(slabs.shape)


def _thick(shape: Shape, axis: int) -> int:
    return max(1, SLAB_VOXELS // (prod(shape) // shape[axis]))


class InMemory:
    """Slabs of an array (z y x), which changes with them."""

    def __init__(self, labels: NDArray[Any], axis: int) -> None:
        z, y, x = labels.shape
        self.shape, self.axis = (z, y, x), axis
        self.thick = _thick(self.shape, axis)
        self._labels = labels

    def slab(self, number: int) -> NDArray[Any]:
        """One slab, which is not to be changed."""
        return read_slab(self._labels, number, self)

    def put(self, number: int, slab: NDArray[Any]) -> None:
        """Replace a slab."""
        self.slab(number)[:] = slab


class Packed:
    """Labels (uint8) as they were when they were read, compressed in memory.

    Labels of scans take about a hundredth of their size. Windows of them (z y x) are read as of an
    array, and show what was changed.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, labels: Windows, axis: int) -> None:
        z, y, x = labels.shape
        self.shape, self.axis = (z, y, x), axis
        self.thick = _thick(self.shape, axis)
        self._packed = [_pack(read_slab(labels, number, self)) for number in range(count_of(self))]

    def slab(self, number: int) -> NDArray[np.uint8]:
        """One slab, which is not to be changed."""
        flat = np.frombuffer(zlib.decompress(self._packed[number]), np.uint8)
        across = [n for k, n in _sides(self) if k != self.axis]
        return flat.reshape(-1, *across)

    def put(self, number: int, slab: NDArray[Any]) -> None:
        """Replace a slab."""
        self._packed[number] = _pack(slab)

    @property
    def nbytes(self) -> int:
        """How many bytes are kept."""
        return sum(map(len, self._packed))

    def __getitem__(self, window: Window) -> NDArray[np.uint8]:
        """A fresh copy of a window."""
        z, y, x = (range(*part.indices(n)) for part, n in zip(window, self.shape, strict=True))
        found = np.empty((len(z), len(y), len(x)), np.uint8)
        if found.size == 0:
            return found
        into = np.moveaxis(found, self.axis, 0)
        along = (z, y, x)[self.axis]
        rows, columns = (part for k, part in enumerate(window) if k != self.axis)
        for number in range(along.start // self.thick, (along.stop - 1) // self.thick + 1):
            before = number * self.thick
            start, stop = max(along.start, before), min(along.stop, before + self.thick)
            part = self.slab(number)[start - before : stop - before, rows, columns]
            into[start - along.start : stop - along.start] = part
        return found


def _pack(slab: NDArray[Any]) -> bytes:
    return zlib.compress(np.ascontiguousarray(slab, np.uint8).tobytes(), _LEVEL)
