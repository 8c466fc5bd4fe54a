"""HDF5 files with the arrays ``image`` and ``label``, as common benchmarks distribute them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.chunked.boxed import (
    boxed_scan,
    frame_window,
    lps_grid,
    spatial_axes,
)
from napari_mlbseg.formats.chunked.hdf5_chunks import require_known_packing, require_sound_chunks
from napari_mlbseg.formats.scan import Forms, Scan, finite_only, readable, whole_numbers
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.volume import Geometry

_WHAT: Final = "HDF5"
_IMAGE: Final = ("image", "raw", "data", "volume")
_LABEL: Final = ("label", "labels", "mask", "seg", "segmentation")
_SPACING: Final = ("spacing", "voxel_spacing", "pixdim")
_MICROMETRES: Final = "element_size_um"
_MOST_AXES: Final = 5
_DEEPEST: Final = 6
"""How many groups deep an array may lie."""
_MAGIC: Final = b"\x89HDF\r\n\x1a\n"


class Hdf5Format:
    """Reads .h5 and .hdf5; labels of such a case are exported as NIfTI."""

    name: str = "hdf5"

    def open_image(self, path: Path, choice: Choice) -> Scan:
        """The array ``image``, or the only array in the file.

        Axes that are tagged, as ilastik does, are those of the patient (LPS). Others are taken as
        right, anterior, superior; a spacing of 1 mm is assumed if there is no attribute.
        """
        return finite_only(path, _open(path, choice, _IMAGE))

    def open_labels(self, path: Path, choice: Choice) -> Scan:
        """The array ``label``, or the only array in the file."""
        return whole_numbers(path, _open(path, choice, _LABEL))

    def forms(self, source: SourceInfo, geometry: Geometry) -> Forms:
        """Whether the file says how large the voxels are."""
        return Forms(calibrated=bool(json.loads(source.header).get("calibrated", True)))


@dataclass(frozen=True)
class _Array:
    """What must be known about an array before its voxels are read."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    held: int
    depth: int
    axes: tuple[str, ...]
    spacing: list[float] | None


def _open(path: Path, choice: Choice, names: tuple[str, ...]) -> Scan:
    import h5py

    with readable(path, _WHAT):
        _require_hdf5(path)
        with h5py.File(path, "r") as file:
            array = _described(path, file, names)
    spatial = spatial_axes(array.axes, array.shape)
    if not 2 <= len(spatial) <= 3:
        raise UserError(
            f"{path} tags the axes of {array.name!r} as {''.join(array.axes)}; a volume has z, y "
            "and x."
        )
    window, chosen, left_out = frame_window(path, choice, array.shape, spatial)
    known = array.spacing is not None
    note = () if known else (f"{path} records no spacing; 1 mm is assumed.",)

    def read(window: tuple[int | slice, ...]) -> NDArray[Any]:
        with h5py.File(path, "r") as file:
            require_sound_chunks(path, file[array.name], window)
            return np.asarray(file[array.name][window])

    return boxed_scan(
        path,
        read,
        array.shape,
        array.dtype,
        window=window,
        affine=_affine(array, spatial),
        source=SourceInfo(Hdf5Format.name, json.dumps({"calibrated": known}).encode(), chosen),
        what=_WHAT,
        held=array.held,
        depth=array.depth,
        notes=(*note, *left_out),
    )


def _require_hdf5(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if not start:
        raise UserError(f"{path} is empty (0 bytes). Copy the file again.")
    if start != _MAGIC:
        raise UserError(f"{path} is not an HDF5 file: it does not start like one.")


def _described(path: Path, file: Any, names: tuple[str, ...]) -> _Array:
    name = _chosen(path, file, names)
    array = file[name]
    if array.is_virtual or array.external:
        raise UserError(f"{path} keeps {name!r} in other files, which is not supported.")
    require_known_packing(path, array)
    axes = _tagged(array)
    return _Array(
        name,
        tuple(int(n) for n in array.shape),
        array.dtype,
        int(array.id.get_storage_size()),
        int(array.chunks[0]) if array.chunks else 1,
        axes,
        _spacing(path, file, array),
    )


def _chosen(path: Path, file: Any, names: tuple[str, ...]) -> str:
    arrays = list(_arrays_in(file))
    for name in names:
        found = [key for key in arrays if key.rpartition("/")[2].lower() == name]
        if len(found) == 1:
            return found[0]
    if len(arrays) == 1:
        return arrays[0]
    told = ", ".join(map(repr, arrays)) or "none"
    raise UserError(
        f"{path} has no array {names[0]!r}; its arrays are: {told}. Give the right one this name, "
        "and only it."
    )


def _arrays_in(group: Any, above: str = "", depth: int = 0) -> Iterator[str]:
    """The arrays that may be volumes, in groups, too; no link is followed."""
    import h5py

    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            continue
        found, name = group.get(key), f"{above}{key}"
        if isinstance(found, h5py.Dataset):
            if 2 <= found.ndim <= _MOST_AXES:
                yield name
        elif isinstance(found, h5py.Group) and depth < _DEEPEST:
            yield from _arrays_in(found, f"{name}/", depth + 1)


def _tagged(array: Any) -> tuple[str, ...]:
    """The names of the axes as ilastik and vigra write them; empty if there are none."""
    try:
        tags = json.loads(array.attrs["axistags"])
        names = tuple(str(axis["key"]).lower() for axis in tags["axes"])
    except (KeyError, TypeError, ValueError):
        return ()
    return names if len(names) == array.ndim and len(set(names)) == len(names) else ()


def _spacing(path: Path, file: Any, array: Any) -> list[float] | None:
    """Distance between voxels along the spatial axes in mm; None if it is not recorded."""
    for owner in (array, file):
        for name, unit in (*((name, 1.0) for name in _SPACING), (_MICROMETRES, 1e-3)):
            if name in owner.attrs:
                numbers = np.ravel(owner.attrs[name]).astype(float) * unit
                if not 2 <= numbers.size <= 3 or not (numbers > 0).all():
                    raise UserError(f"{path} has no usable geometry: {name} is {numbers.tolist()}.")
                return [*numbers.tolist(), 1.0][:3]
    return None


def _affine(array: _Array, spatial: list[int]) -> NDArray[np.float64]:
    """From the spatial axes to RAS; one slice gets an axis in front."""
    spacing = array.spacing or [1.0] * 3
    if len(spatial) < 3:
        return _flat(spacing)
    if not array.axes:
        return np.diag([*spacing, 1.0])
    return lps_grid(spacing, [0.0] * 3, [array.axes[k] for k in spatial])


def _flat(spacing: list[float]) -> NDArray[np.float64]:
    """Affine of a single slice, which `boxed_scan` puts in front of its two axes."""
    return np.diag([spacing[2], spacing[0], spacing[1], 1.0])[[1, 2, 0, 3]]


FORMAT: Final = Hdf5Format()
