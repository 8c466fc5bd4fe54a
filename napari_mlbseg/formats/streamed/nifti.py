"""NIfTI-1 and NIfTI-2 single files, compressed or not."""

import gzip
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np

from napari_mlbseg.formats.scan import (
    Forms,
    Scan,
    finite_only,
    frame_notes,
    scaled,
    whole_numbers,
)
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.formats.streamed.nifti_header import (
    Header,
    chosen_frame,
    compression_of,
    geometry_of,
    has_place,
    header_for,
    kept_block,
    other_affines,
    parse_header,
    place_notes,
    read_header_block,
    require_numbers,
    spatial_shape,
)
from napari_mlbseg.formats.streamed.stream import COMPRESSION, Stream, file_slabs
from napari_mlbseg.volume import Geometry, Volume

_NO_EXTENSIONS: Final = bytes(4)


class NiftiFormat:
    """Reads and writes .nii and .nii.gz."""

    name: str = "nifti"

    def open_image(self, path: Path, choice: Choice) -> Scan:
        """An image with the file's scaling applied: float32 if there is one, else as stored.

        Raises
        ------
        UserError
            If the file is not a valid NIfTI file, has several frames and none was chosen, or (when
            it is read) holds voxels that are not finite or beyond the range of 32-bit floating
            point numbers.
        """
        scan, slope, inter = _open(path, choice)
        return finite_only(path, scaled(scan, slope, inter))

    def open_labels(self, path: Path, choice: Choice) -> Scan:
        """Labels as uint8, whatever number type the file uses for them.

        Raises
        ------
        UserError
            If the file is not a valid NIfTI file, has several frames and none was chosen, or (when
            it is read) holds anything but integers from 0 to 255.
        """
        scan, slope, inter = _open(path, choice)
        return whole_numbers(path, scan, slope, inter)

    def writes(self, path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any]) -> None:
        """Write voxels with the geometry, version and byte order of the source's header.

        A source of another format gets a NIfTI-1 header, with the 32-bit numbers nearest to the
        affine: ITK does not read NIfTI-2.
        """
        own = source.format == self.name
        header = parse_header(path, source.header if own else header_for(volume.geometry))
        _write(path, volume, header, dtype)

    def forms(self, source: SourceInfo, geometry: Geometry) -> Forms:
        """Every way in which a reader may place the voxels of a header."""
        header = parse_header(Path(), source.header)
        others = other_affines(header, geometry.file_shape)
        return Forms(tuple(others), has_place(header))


def _open(path: Path, choice: Choice) -> tuple[Scan, float, float]:
    block = read_header_block(path)
    header = parse_header(path, block)
    shape, frames = spatial_shape(path, header)
    frame = chosen_frame(path, header, choice)
    require_numbers(path, header)
    dtype = header.get_data_dtype()
    compression = compression_of(path)
    stream = Stream.of_frame(
        path,
        header.get_data_offset(),
        compression,
        shape,
        dtype,
        frame=(frame, frames),
        inside=bool(compression),
    )
    stream.require_plausible()
    block = kept_block(header, frames)
    source = SourceInfo(NiftiFormat.name, block, Choice(frame) if frames > 1 else Choice())
    geometry = geometry_of(path, header, shape)
    notes = (*place_notes(path, header, geometry), *frame_notes(path, frame, frames))
    scan = Scan(geometry, dtype.newbyteorder("="), source, 2, stream.slabs, notes=notes)
    return scan, *_scaling(header)


def _scaling(header: Header) -> tuple[float, float]:
    slope, inter = header.get_slope_inter()
    return (1.0 if slope is None else float(slope)), (0.0 if inter is None else float(inter))


def _write(path: Path, volume: Volume, header: Header, dtype: np.dtype[Any]) -> None:
    shape, _ = spatial_shape(path, header)
    if shape != volume.geometry.file_shape:
        raise ValueError(f"a source of shape {shape} cannot carry {volume.geometry.file_shape}")
    header.set_data_dtype(dtype)
    header.set_data_offset(0)
    header.set_slope_inter(1, 0)
    header.set_intent("label" if dtype.itemsize == 1 else "none")
    header["cal_min"] = header["cal_max"] = 0
    header.set_data_offset(len(header.binaryblock) + len(_NO_EXTENSIONS))
    with path.open("wb") as file:
        if not compression_of(path):
            _write_blocks(file, header, volume, dtype)
            return
        with gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as zipped:
            _write_blocks(cast(BinaryIO, zipped), header, volume, dtype)


def _write_blocks(file: BinaryIO, header: Header, volume: Volume, dtype: np.dtype[Any]) -> None:
    file.write(header.binaryblock + _NO_EXTENSIONS)
    ordered = dtype.newbyteorder(header.endianness)
    for _, slab in file_slabs(volume, ordered):
        file.write(slab.tobytes(order="F"))


FORMAT: Final = NiftiFormat()
