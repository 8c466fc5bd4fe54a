"""Masks of slices as the catalogue keeps them, and as they combine into labels."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import MAX_CLASS
from napari_mlbseg.project.records.slices import SliceKey

_DTYPE: Final = np.dtype(np.uint8).str


@dataclass(frozen=True)
class PackedMask:
    """A zlib-compressed mask (row by row) with what is needed to unpack it."""

    rows: int
    columns: int
    dtype: str
    data: bytes

    @classmethod
    def pack(cls, mask: NDArray[np.uint8]) -> "PackedMask":
        """Compress a slice; raises UserError where a value is not a class."""
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise ValueError(f"a mask is 2-D and uint8, got {mask.ndim}-D {mask.dtype}")
        if mask.size and int(mask.max()) > MAX_CLASS:
            raise UserError(
                f"The mask holds the value {int(mask.max())}, but classes run from 0 to "
                f"{MAX_CLASS}. Paint with one of the classes of the study."
            )
        rows, columns = mask.shape
        return cls(rows, columns, mask.dtype.str, zlib.compress(mask.tobytes()))

    def unpack(self, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """The mask of a slice of this shape; raises UserError where what is stored is another.

        Never unpacks more than the slice has pixels, whatever the bytes would become.
        """
        try:
            return self._unpacked(shape)
        except (zlib.error, ValueError, TypeError) as error:
            raise UserError(
                f"A stored mask is damaged ({error}). Older revisions of the slice may still be "
                "readable; otherwise restore the study from a backup."
            ) from error

    def _unpacked(self, shape: tuple[int, int]) -> NDArray[np.uint8]:
        if (self.rows, self.columns, self.dtype) != (*shape, _DTYPE):
            raise ValueError(
                f"{self.rows} x {self.columns} of type {self.dtype!r}, not {shape[0]} x {shape[1]}"
            )
        pixels, unpacker = shape[0] * shape[1], zlib.decompressobj()
        data = unpacker.decompress(self.data, pixels + 1)
        if len(data) != pixels or not unpacker.eof:
            raise ValueError(f"not {pixels} pixels")
        mask = np.frombuffer(data, np.uint8).reshape(shape).copy()
        if int(mask.max()) > MAX_CLASS:
            raise ValueError(f"a value of {int(mask.max())}")
        return mask


def compose(
    machine_labels: NDArray[np.uint8], slices: Iterable[tuple[SliceKey, NDArray[np.uint8]]]
) -> NDArray[np.uint8]:
    """Lay masks of slices over labels (z y x), in the order given.

    Where orthogonal slices cross, the later one wins.

    >>> machine = np.zeros((3, 2, 2), np.uint8)
    >>> person = np.ones((2, 2), np.uint8)
    >>> compose(machine, [(SliceKey("case_01", axis=0, index=1), person)]).sum(axis=(1, 2))
    array([0, 4, 0], dtype=uint64)
    """
    labels = machine_labels.copy()
    for key, mask in slices:
        labels[plane(key.axis, key.index)] = mask
    return labels


def plane(axis: int, start: int, stop: int | None = None) -> tuple[slice | int, ...]:
    """Index of one slice along a display axis, or of a range of slices.

    >>> plane(1, 5)
    (slice(None, None, None), 5, slice(None, None, None))
    """
    where: slice | int = start if stop is None else slice(start, stop)
    return tuple(where if k == axis else slice(None) for k in range(3))
