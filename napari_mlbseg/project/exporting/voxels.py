"""Arrays of a study for a writer, which reads them window by window, never as a whole."""

from collections.abc import Iterator
from math import prod
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.labels import Window, along

BAND_BYTES: Final = 1 << 26


class Windowed(Protocol):
    """Voxels (z y x) that are read window by window."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the voxels."""

    def __getitem__(self, window: Window, /) -> Any:
        """A window, given by a range along each axis."""


def in_bands(array: Windowed, axis: int) -> Iterator[NDArray[Any]]:
    """Yield all voxels in bands across an axis."""
    count = array.shape[axis]
    for start in range(0, count, _thick(array, axis)):
        yield np.asarray(array[along(axis, start, min(start + _thick(array, axis), count))])


def _thick(array: Windowed, axis: int) -> int:
    slice_bytes = prod(array.shape) // array.shape[axis] * array.dtype.itemsize
    return max(1, BAND_BYTES // slice_bytes)


class Banded:
    """Reads an array in bands across an axis, and keeps one band in memory.

    If thin slices are requested in order, each chunk of the array is unpacked only a few times,
    however the chunks lie.
    """

    def __init__(self, array: Windowed, axis: int) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self._array, self._axis = array, axis
        self._thick = _thick(array, axis)
        self._start = 0
        self._band: NDArray[Any] | None = None

    def __getitem__(self, window: Window) -> NDArray[Any]:
        asked = window[self._axis]
        start, stop, _ = asked.indices(self.shape[self._axis])
        band = self._band
        if band is None or not self._start <= start <= stop <= self._start + self._size(band):
            # Reading that starts at the end, or before the last band, goes backwards.
            back = (start > 0 and band is None) or (band is not None and start < self._start)
            self._start = max(0, min(start, stop - self._thick)) if back else start
            end = stop if back else max(stop, start + self._thick)
            band = self._band = np.asarray(self._array[along(self._axis, self._start, end)])
        inner = list(window)
        inner[self._axis] = slice(start - self._start, stop - self._start)
        return band[tuple(inner)]

    def _size(self, band: NDArray[Any]) -> int:
        return int(band.shape[self._axis])


class NotFiniteError(UserError):
    """The voxels to export include NaN or infinity."""


def require_finite(voxels: NDArray[Any], what: str) -> None:
    """Raise `NotFiniteError` if a voxel is NaN or infinite; `what` names them, in the plural."""
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        raise NotFiniteError(
            f"The {what} hold voxels that are NaN or infinite, because a training went wrong. They "
            "are never exported. Continue the training, or start it afresh, then export again."
        )


class Finite:
    """The same voxels; reading a window with NaN or infinity raises `NotFiniteError`."""

    def __init__(self, array: Windowed, what: str) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        self._array, self._what = array, what

    def __getitem__(self, window: Window) -> NDArray[Any]:
        found = np.asarray(self._array[window])
        require_finite(found, self._what)
        return found
