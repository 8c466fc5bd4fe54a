"""Masks of slices as the catalogue keeps them, and where they lie."""

import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.project.records.cases import MAX_CLASS

_DTYPE: Final = np.dtype(np.uint8).str


@dataclass(frozen=True)
class PackedMask:
    """A mask compressed by zlib (row by row), with everything needed to unpack it."""

    rows: int
    columns: int
    dtype: str
    data: bytes

    @classmethod
    def pack(cls, mask: NDArray[np.uint8]) -> "PackedMask":
        """Compress a slice; raises UserError if a value is not a class."""
        if mask.ndim != 2 or mask.dtype != np.uint8:
            raise ValueError(f"a mask is 2-D and uint8, got {mask.ndim}-D {mask.dtype}")
        require_values(mask)
        rows, columns = mask.shape
        return cls(rows, columns, mask.dtype.str, zlib.compress(mask.tobytes()))

    def unpack(self, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """The mask of a slice of this shape; raises Damaged if the stored mask is different.

        Never unpacks more than the slice has pixels, whatever the stored bytes unpack to.
        """
        try:
            return self._unpacked(shape)
        except (zlib.error, ValueError, TypeError) as error:
            raise Damaged(f"a stored mask is damaged ({error})") from error

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


def require_values(mask: NDArray[np.uint8]) -> None:
    """Raise UserError if a mask holds a value that no class can have."""
    if mask.size and int(mask.max()) > MAX_CLASS:
        raise UserError(
            f"The mask holds the value {int(mask.max())}, but classes run from 0 to "
            f"{MAX_CLASS}. Paint with one of the classes of the study."
        )


def plane(axis: int, start: int, stop: int | None = None) -> tuple[slice | int, ...]:
    """The index of one slice along a display axis, or of a range of slices.

    >>> plane(1, 5)
    (slice(None, None, None), 5, slice(None, None, None))
    """
    where: slice | int = start if stop is None else slice(start, stop)
    return tuple(where if k == axis else slice(None) for k in range(3))
