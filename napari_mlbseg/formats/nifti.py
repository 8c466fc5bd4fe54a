"""NIfTI-1 and NIfTI-2 single files, compressed or not."""

import gzip
from pathlib import Path
from typing import Any, Final

import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from nibabel.nifti2 import Nifti2Image
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.nifti_header import (
    Header,
    geometry_of,
    is_gzip,
    open_file,
    parse_header,
    read_header_block,
    require_plausible,
    spatial_shape,
)
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.volume import Volume

_CHUNK_BYTES: Final = 1 << 22
_COMPRESSION: Final = 4
_WHOLE: Final = 1e-4
"""How far a label may be from a whole number: scaled files store 2 as 1.9999999."""

_FREE_TEXT: Final = ("descrip", "aux_file", "db_name", "data_type")
"""Header fields that scanners and converters fill as they like, with names of patients too."""


class NiftiFormat:
    """Reads and writes .nii and .nii.gz."""

    name: str = "nifti"
    suffixes: tuple[str, ...] = (".nii.gz", ".nii")

    def read_image(self, path: Path) -> tuple[Volume, SourceInfo]:
        """An image with the file's scaling applied: float32 if there is one, else as stored.

        Raises
        ------
        UserError
            If the file is no sound NIfTI file, has several frames, or holds voxels that are
            not finite or beyond the range of 32-bit floating point numbers.
        """
        block, header, volume = _read(path)
        slope, inter = _scaling(header)
        voxels = volume.voxels
        if (slope, inter) != (1.0, 0.0):
            voxels = _scaled(voxels, slope, inter)
        _require_finite(path, voxels)
        return Volume(voxels, volume.geometry), SourceInfo(self.name, block)

    def read_labels(self, path: Path) -> tuple[Volume, SourceInfo]:
        """Labels as uint8, whatever number type the file uses for them.

        Raises
        ------
        UserError
            If the file is no sound NIfTI file, has several frames, or holds anything else than
            whole numbers from 0 to 255.
        """
        block, header, volume = _read(path)
        slope, inter = _scaling(header)
        labels = _whole_numbers(path, volume.voxels, slope, inter)
        return Volume(labels, volume.geometry), SourceInfo(self.name, block)

    def write_labels(self, path: Path, volume: Volume, source: SourceInfo) -> None:
        """Write uint8 labels with the geometry, version and byte order of the source's header."""
        _write(path, volume, source, np.dtype(np.uint8), "label")

    def write_map(self, path: Path, volume: Volume, source: SourceInfo) -> None:
        """Write a float32 map with the geometry, version and byte order of the source's header."""
        _write(path, volume, source, np.dtype(np.float32), "none")


def _read(path: Path) -> tuple[bytes, Header, Volume]:
    block = read_header_block(path)
    header = parse_header(path, block)
    shape = spatial_shape(path, header)
    require_plausible(path, header, shape)
    geometry = geometry_of(path, header, shape)
    stored = _stored_voxels(path, header, shape)
    return block, header, Volume(geometry.to_display(stored), geometry)


def _stored_voxels(path: Path, header: Header, shape: tuple[int, int, int]) -> NDArray[Any]:
    """The numbers of the file in native byte order; a gzip file's checksum is verified too."""
    dtype = header.get_data_dtype()
    try:
        voxels = np.empty(shape, dtype, order="F")
    except MemoryError as error:
        raise UserError(f"{path} does not fit into memory ({shape} voxels).") from error
    target = voxels.reshape(-1, order="F").view(np.uint8)
    with open_file(path) as file:
        file.seek(header.get_data_offset())
        done = 0
        while done < target.size:
            chunk = file.read(min(_CHUNK_BYTES, target.size - done))
            if not chunk:
                raise UserError(
                    f"{path} is truncated: {done:,} of {target.size:,} bytes of voxels are there. "
                    "Copy the file again."
                )
            target[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
            done += len(chunk)
        while is_gzip(path) and file.read(_CHUNK_BYTES):
            pass
    return voxels.astype(dtype.newbyteorder("="), copy=False)


def _scaling(header: Header) -> tuple[float, float]:
    slope, inter = header.get_slope_inter()
    return (1.0 if slope is None else float(slope)), (0.0 if inter is None else float(inter))


def _scaled(voxels: NDArray[Any], slope: float, inter: float) -> NDArray[np.float32]:
    """Computed in float64 slab by slab, so that large integers keep what float32 can hold."""
    out = np.empty_like(voxels, dtype=np.float32)
    with np.errstate(over="ignore"):
        for source, target in zip(voxels, out, strict=True):
            target[...] = source.astype(np.float64) * slope + inter
    return out


def _require_finite(path: Path, voxels: NDArray[Any]) -> None:
    if voxels.dtype.kind != "f":
        return
    largest = np.finfo(np.float32).max
    bad = sum(int(np.count_nonzero(~(np.abs(slab) <= largest))) for slab in voxels)
    if bad:
        raise UserError(
            f"{path} holds {bad:,} voxels that are NaN or infinite (of {voxels.size:,}). Replace "
            "them by a finite value, such as the background's, and import again."
        )


def _whole_numbers(
    path: Path, stored: NDArray[Any], slope: float, inter: float
) -> NDArray[np.uint8]:
    labels = np.empty_like(stored, dtype=np.uint8)
    bad = 0
    examples: set[float] = set()
    for source, target in zip(stored, labels, strict=True):
        values = source.astype(np.float64) * slope + inter
        nearest = np.rint(values)
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            wrong = ~((np.abs(values - nearest) <= _WHOLE) & (nearest >= 0) & (nearest <= 255))
        if wrong.any():
            bad += int(np.count_nonzero(wrong))
            examples.update(np.unique(values[wrong])[:5].tolist())
        target[...] = np.where(wrong, 0, nearest)
    if bad:
        found = ", ".join(f"{value:.6g}" for value in sorted(examples)[:5])
        raise UserError(
            f"{path} is not a label file: {bad:,} of its {stored.size:,} voxels are not whole "
            f"numbers from 0 to 255 (for example {found})."
        )
    return labels


def _write(
    path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any], intent: str
) -> None:
    header = parse_header(path, source.header)
    shape = spatial_shape(path, header)
    if shape != volume.geometry.file_shape:
        raise ValueError(f"a source of shape {shape} cannot carry {volume.geometry.file_shape}")
    header.set_data_dtype(dtype)
    header.set_data_offset(0)
    header.set_slope_inter(1, 0)
    header.set_intent(intent)
    header["cal_min"] = header["cal_max"] = 0
    for field in _FREE_TEXT:
        if field in header:
            header[field] = b""
    voxels = volume.geometry.to_file(volume.voxels).astype(dtype, order="F")
    voxels = voxels.reshape(tuple(header.get_data_shape()), order="F")
    image_class: Any = Nifti1Image if type(header) is Nifti1Header else Nifti2Image
    image = image_class(voxels, None, header)
    # Opened here, because nibabel leaves its own file open when the disk is full.
    with path.open("wb") as file:
        if not is_gzip(path):
            image.to_stream(file)
            return
        with gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as zipped:
            image.to_stream(zipped)
