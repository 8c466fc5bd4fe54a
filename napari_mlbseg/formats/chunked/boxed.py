"""What OME-Zarr, TIFF and HDF5 share: arrays whose axes are indexed one by one."""

from collections.abc import Callable, Sequence
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
    frame_notes,
    frame_of,
    readable,
    require_size,
    slices_per_slab,
    usable_geometry,
)
from napari_mlbseg.formats.source import Choice, SourceInfo

_MM_OF: Final = {
    1e-7: "angstrom angstroms å",
    1e-6: "nanometer nanometers nanometre nanometres nm",
    # The sign for micro has two codes in Unicode.
    1e-3: "micrometer micrometers micrometre micrometres micron microns um µm \u03bcm",
    1.0: "millimeter millimeters millimetre millimetres mm",
    10.0: "centimeter centimeters centimetre centimetres cm",
    1000.0: "meter meters metre metres m",
    25.4: "inch inches in",
}
MM_PER_UNIT: Final = {name: mm for mm, names in _MM_OF.items() for name in names.split()}
"""Millimetres by the name of a unit in lower case; others, such as ``pixel``, are no lengths."""

_RAS_PER_AXIS: Final = {"x": (0, -1.0), "y": (1, -1.0), "z": (2, 1.0)}
"""For each axis of the patient (LPS) its row in RAS, and its sign there."""

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
    path: Path, choice: Choice, shape: tuple[int, ...], spatial: Sequence[int]
) -> tuple[tuple[int | slice, ...], Choice, tuple[str, ...]]:
    """The window that holds the chosen frame of an array whose volume has the axes `spatial`.

    Also the choice to keep, and notes about what is left out.
    """
    others = [k for k in range(len(shape)) if k not in spatial]
    frames = prod(shape[k] for k in others)
    number = frame_of(path, choice, frames, shape)
    indices = np.unravel_index(number, [shape[k] for k in others]) if others else ()
    window: list[int | slice] = [slice(None)] * len(shape)
    for axis, index in zip(others, indices, strict=True):
        window[axis] = int(index)
    chosen = Choice(number) if frames > 1 else Choice()
    return tuple(window), chosen, frame_notes(path, number, frames)


def spatial_axes(names: Sequence[str], sizes: Sequence[int]) -> list[int]:
    """Which axes of an array are those of a volume, by their names or else by their lengths.

    Without names they are the ones that are longer than 1, or the first three.
    """
    if names:
        return [k for k, name in enumerate(names) if name in _RAS_PER_AXIS]
    long = [k for k, size in enumerate(sizes) if size > 1]
    return long if len(sizes) > 3 and len(long) == 3 else list(range(len(sizes)))[:3]


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


def lps_grid(
    spacing: Sequence[float],
    origin: Sequence[float],
    names: Sequence[str] = ("z", "y", "x"),
    against: Sequence[bool] = (False, False, False),
) -> NDArray[np.float64]:
    """RAS affine of an array with axes along the patient's, as ITK assumes for such files.

    Parameters
    ----------
    spacing, origin
        Along each axis in mm.
    names
        The axes of the array: x to the left, y to posterior, z to superior.
    against
        Whether an axis runs the other way.
    """
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    with np.errstate(all="ignore"):  # what is not finite is refused by the caller
        for k, name in enumerate(names):
            row, sign = _RAS_PER_AXIS[name]
            sign = -sign if against[k] else sign
            affine[row, k] = sign * spacing[k]
            affine[row, 3] = sign * origin[k]
    return affine
