"""What OME-Zarr, TIFF and HDF5 share: arrays whose axes are indexed one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.scan import (
    Scan,
    Slabs,
    frame_of,
    readable,
    require_size,
    slices_per_slab,
    usable_geometry,
)
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.volume import LPS_TO_RAS

MM_PER_UNIT: Final = {
    "angstrom": 1e-7,
    "nanometer": 1e-6,
    "nm": 1e-6,
    "micrometer": 1e-3,
    "micron": 1e-3,
    "µm": 1e-3,
    "um": 1e-3,
    "millimeter": 1.0,
    "mm": 1.0,
    "centimeter": 10.0,
    "cm": 10.0,
    "meter": 1000.0,
    "m": 1000.0,
    "inch": 25.4,
}

Read = Callable[[tuple[int | slice, ...]], NDArray[Any]]
"""Reads a window of an array: an index or a slice for each axis."""


def grey_dtype(path: Path, dtype: Any) -> np.dtype[Any]:
    """The type of voxels in native byte order; UserError if they are not numbers."""
    found: np.dtype[Any] = np.dtype(dtype)
    if found.kind == "b":
        return np.dtype(np.uint8)
    if found.kind not in "iuf" or found.itemsize > 8 or found.itemsize * 8 < 8:
        raise UserError(f"{path} holds voxels of the type {found}; a study takes numbers.")
    if found == np.float16:
        return np.dtype(np.float32)
    return found.newbyteorder("=")


def frame_window(
    path: Path, choice: Choice, shape: tuple[int, ...], spatial: list[int]
) -> tuple[tuple[int | slice, ...], Choice]:
    """The window that holds the chosen frame of an array whose volume has the axes `spatial`."""
    others = [k for k in range(len(shape)) if k not in spatial]
    frames = prod(shape[k] for k in others)
    number = frame_of(path, choice, frames, shape)
    indices = np.unravel_index(number, [shape[k] for k in others]) if others else ()
    window: list[int | slice] = [slice(None)] * len(shape)
    for axis, index in zip(others, indices, strict=True):
        window[axis] = int(index)
    return tuple(window), Choice(number) if frames > 1 else Choice()


def boxed_scan(
    path: Path,
    read: Read,
    shape: tuple[int, ...],
    dtype: Any,
    *,
    window: tuple[int | slice, ...],
    affine: NDArray[np.float64],
    source: SourceInfo,
    what: str,
    held: int,
    depth: int = 1,
    notes: tuple[str, ...] = (),
) -> Scan:
    """A scan of three axes of an array, read along the first.

    Parameters
    ----------
    window
        An index for each axis that is not spatial, a slice for each that is; two slices are enough.
    affine
        4 x 4: from the indices of the spatial axes, in their order, to RAS mm.
    held
        Stored bytes.
    depth
        How many slices are stored together.
    """
    spatial = [k for k, part in enumerate(window) if isinstance(part, slice)]
    sizes = tuple(shape[k] for k in spatial)
    volume = (1, *sizes) if len(sizes) == 2 else sizes
    kind = grey_dtype(path, dtype)
    require_size(path, volume, kind.itemsize, held)
    wanted = slices_per_slab(prod(volume[1:]) * kind.itemsize)
    # Slabs of whole chunks, so that each is unpacked once, unless chunks are huge.
    thick = max(depth, wanted // depth * depth) if depth <= 4 * wanted else wanted
    file_shape = (volume[0], volume[1], volume[2])
    box = _Box(path, read, window, file_shape, kind, thick, what)
    geometry = usable_geometry(path, file_shape, affine)
    return Scan(geometry, kind, source, 0, box.slabs, notes=notes)


@dataclass(frozen=True)
class _Box:
    """A window of an array that is read in slabs of `thick` slices; `what` names its format."""

    path: Path
    read: Read
    window: tuple[int | slice, ...]
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    thick: int
    what: str

    def slabs(self) -> Slabs:
        """Slabs along the first axis; a flat array is one slice."""
        spatial = [k for k, part in enumerate(self.window) if isinstance(part, slice)]
        flat = len(spatial) == 2
        for start in range(0, self.shape[0], self.thick):
            part = list(self.window)
            if not flat:
                part[spatial[0]] = slice(start, min(start + self.thick, self.shape[0]))
            with readable(self.path, self.what):
                slab = np.asarray(self.read(tuple(part)))
                if flat:
                    slab = slab[None]
                if slab.shape[1:] != self.shape[1:]:
                    raise UserError(
                        f"{self.path} is damaged: a part of it has the shape {slab.shape}."
                    )
            yield start, slab.astype(self.dtype, copy=False)


def lps_grid(spacing_zyx: list[float], origin_zyx: list[float]) -> NDArray[np.float64]:
    """RAS affine of an array z y x with axes along the patient's, as ITK assumes for such files."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for k, axis in enumerate((2, 1, 0)):
        affine[axis, k] = spacing_zyx[k]
        affine[axis, 3] = origin_zyx[k]
    with np.errstate(all="ignore"):  # what is not finite is refused by the caller
        return np.asarray(LPS_TO_RAS @ affine)
