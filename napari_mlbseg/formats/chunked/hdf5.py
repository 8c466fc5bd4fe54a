"""HDF5 files with the arrays ``image`` and ``label``, as common benchmarks distribute them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.chunked.boxed import boxed_scan, frame_window
from napari_mlbseg.formats.chunked.hdf5_chunks import require_known_packing, require_sound_chunks
from napari_mlbseg.formats.scan import Scan, finite_only, readable, whole_numbers
from napari_mlbseg.formats.source import Choice, SourceInfo

_WHAT: Final = "HDF5"
_IMAGE: Final = ("image", "raw", "data", "volume")
_LABEL: Final = ("label", "labels", "mask", "seg", "segmentation")
_SPACING: Final = ("spacing", "voxel_spacing", "pixdim")
_MICROMETRES: Final = "element_size_um"
_MAGIC: Final = b"\x89HDF\r\n\x1a\n"


class Hdf5Format:
    """Reads .h5 and .hdf5; labels of such a case are exported as NIfTI."""

    name: str = "hdf5"

    def open_image(self, path: Path, choice: Choice) -> Scan:
        """The array ``image``, or the only array in the file.

        The file's axes are taken as right, anterior, superior, because these files do not record
        the patient's orientation; a spacing of 1 mm is assumed if there is no attribute.
        """
        return finite_only(path, _open(path, choice, _IMAGE))

    def open_labels(self, path: Path, choice: Choice) -> Scan:
        """The array ``label``, or the only array in the file."""
        return whole_numbers(path, _open(path, choice, _LABEL))


@dataclass(frozen=True)
class _Array:
    """What must be known about an array before its voxels are read."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    held: int
    depth: int
    spacing: list[float]
    note: str


def _open(path: Path, choice: Choice, names: tuple[str, ...]) -> Scan:
    import h5py

    with readable(path, _WHAT):
        _require_hdf5(path)
        with h5py.File(path, "r") as file:
            array = _described(path, file, names)
    spatial = list(range(len(array.shape)))[:3]
    window, chosen = frame_window(path, choice, array.shape, spatial)

    def read(window: tuple[int | slice, ...]) -> NDArray[Any]:
        with h5py.File(path, "r") as file:
            require_sound_chunks(path, file[array.name], window)
            return np.asarray(file[array.name][window])

    flat = len(spatial) < 3
    return boxed_scan(
        path,
        read,
        array.shape,
        array.dtype,
        window=window,
        affine=_flat(array.spacing) if flat else np.diag([*array.spacing, 1.0]),
        source=SourceInfo(Hdf5Format.name, b"{}", chosen),
        what=_WHAT,
        held=array.held,
        depth=array.depth,
        notes=(array.note,) if array.note else (),
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
    spacing, note = _spacing(path, file, array)
    return _Array(
        name,
        tuple(int(n) for n in array.shape),
        array.dtype,
        int(array.id.get_storage_size()),
        int(array.chunks[0]) if array.chunks else 1,
        spacing,
        note,
    )


def _chosen(path: Path, file: Any, names: tuple[str, ...]) -> str:
    import h5py

    arrays = [
        key
        for key in file
        # Links into other files are not followed.
        if not isinstance(file.get(key, getlink=True), h5py.ExternalLink)
        and isinstance(found := file.get(key), h5py.Dataset)
        and 2 <= found.ndim <= 5
    ]
    for name in names:
        for key in arrays:
            if key.lower() == name:
                return str(key)
    if len(arrays) == 1:
        return str(arrays[0])
    found = ", ".join(map(repr, arrays)) or "none"
    raise UserError(
        f"{path} has no array {names[0]!r}; its arrays are: {found}. Rename the right one."
    )


def _spacing(path: Path, file: Any, array: Any) -> tuple[list[float], str]:
    """Distance between voxels along the first three axes in mm."""
    for owner in (array, file):
        for name, unit in (*((name, 1.0) for name in _SPACING), (_MICROMETRES, 1e-3)):
            if name in owner.attrs:
                numbers = np.ravel(owner.attrs[name]).astype(float) * unit
                if not 2 <= numbers.size <= 3 or not (numbers > 0).all():
                    raise UserError(f"{path} has no usable geometry: {name} is {numbers.tolist()}.")
                return [*numbers.tolist(), 1.0][:3], ""
    return [1.0] * 3, f"{path} records no spacing; 1 mm is assumed."


def _flat(spacing: list[float]) -> NDArray[np.float64]:
    """Affine of a single slice, which `boxed_scan` puts in front of its two axes."""
    return np.diag([spacing[2], spacing[0], spacing[1], 1.0])[[1, 2, 0, 3]]


FORMAT: Final = Hdf5Format()
