"""MetaImage files (.mha, and .mhd with its voxels in a second file), read without ITK."""

import zlib
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.plain import PlainFormat
from napari_mlbseg.formats.scan import Scan, frame_notes, frame_of, usable_geometry
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.formats.streamed.detached import voxel_file
from napari_mlbseg.formats.streamed.stream import Stream, offset_from_end, packed
from napari_mlbseg.formats.streamed.text_header import TextHeader, read_start, voxel_type
from napari_mlbseg.volume import LPS_TO_RAS, Volume

_TYPES: Final = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_TRUE: Final = {"true", "t", "1", "yes"}
_LONGEST_HEADER: Final = 1 << 16
_NAME: Final = "metaimage"
_LAST_LINE: Final = b"elementdatafile"

_DIRECTIONS: Final = ("transformmatrix", "rotation", "orientation")
_ORIGIN: Final = ("offset", "position", "origin")
_SPACING: Final = ("elementspacing", "elementsize")
_GEOMETRY: Final = (
    *(*_DIRECTIONS, *_ORIGIN, *_SPACING),
    *("centerofrotation", "anatomicalorientation"),
)
"""Fields that say where the voxels lie; an export repeats them unchanged."""
_NEEDED: Final = ("ndims", *_GEOMETRY)


def _open(path: Path, choice: Choice) -> Scan:
    block = _read_header(path)
    header = _parsed(path, block)
    sizes = header.sizes("dimsize", "ndims")
    _require_one_channel(header)
    frames = prod(sizes[3:])
    frame = frame_of(path, choice, frames, sizes)
    stream = _stream(header, len(block), sizes, frame)
    stream.require_plausible()
    geometry = usable_geometry(path, stream.shape, _affine(header, len(sizes)))
    kept = "\n".join(header.kept(_NEEDED)).encode()
    source = SourceInfo(_NAME, kept, Choice(frame) if frames > 1 else Choice())
    notes = frame_notes(path, frame, frames)
    return Scan(geometry, stream.dtype.newbyteorder("="), source, 2, stream.slabs, notes=notes)


def _calibrated(source: SourceInfo) -> bool:
    """Whether a kept header says how large the voxels are."""
    header = TextHeader.parsed(Path(), "MetaImage", "=", source.header)
    return bool(_present(header, _SPACING))


def _read_header(path: Path) -> bytes:
    """Everything before the voxels: all lines up to the one that says where they are."""
    start = read_start(path, _LONGEST_HEADER)
    length = 0
    for line in start.splitlines(keepends=True):
        length += len(line)
        if line.split(b"=")[0].strip().lower() == _LAST_LINE:
            return start[:length]
    raise UserError(f"{path} is not a MetaImage file: it has no complete header.")


def _parsed(path: Path, block: bytes) -> TextHeader:
    header = TextHeader.parsed(path, "MetaImage", "=", block)
    is_image = header.first("objecttype", default="Image").lower() == "image"
    if not is_image or "elementtype" not in header.fields:
        raise UserError(f"{path} is not a MetaImage file of an image.")
    return header


def _require_one_channel(header: TextHeader) -> None:
    if not header.first("elementnumberofchannels"):
        return
    channels = header.integer("elementnumberofchannels")
    if channels != 1:
        raise UserError(
            f"{header.path} holds {channels} channels per voxel; a study takes grey values. Save "
            "the channel that is to be segmented as a file of its own."
        )


def _affine(header: TextHeader, count: int) -> NDArray[np.float64]:
    """RAS affine of the first three axes; those of a flat image are completed."""
    axes = max(3, count)
    directions, origin, spacing = np.eye(axes), np.zeros(axes), np.ones(axes)
    if name := _present(header, _DIRECTIONS):
        # The file lists the direction of one axis after the other.
        matrix = header.numbers(name, count * count)
        directions[:count, :count] = matrix.reshape(count, count).T
    if name := _present(header, _ORIGIN):
        origin[:count] = header.numbers(name, count)
    if name := _present(header, _SPACING):
        spacing[:count] = header.numbers(name, count)
    affine = np.eye(4)
    affine[:3, 3] = origin[:3]
    with np.errstate(all="ignore"):  # what is not finite is refused by the caller
        affine[:3, :3] = directions[:3, :3] * spacing[:3]
        return LPS_TO_RAS @ affine


def _present(header: TextHeader, names: tuple[str, ...]) -> str:
    """The first of several names of one field that the header uses; empty if none."""
    return next((name for name in names if name in header.fields), "")


def _stream(header: TextHeader, length: int, sizes: tuple[int, ...], frame: int) -> Stream:
    """Where one frame lies, in a file whose header takes `length` bytes."""
    path, dtype = header.path, _voxel_type(header)
    if not _is_true(header, "binarydata", default="True"):
        raise UserError(f"{path} stores its voxels as text, which is not supported. Save it again.")
    name = header.fields["elementdatafile"]
    local = name.upper() == "LOCAL"
    data = path if local else voxel_file(path, name)
    width, height, depth = (*sizes, 1)[:3]
    return Stream.of_frame(
        data,
        length if local else _skipped(header, data, prod(sizes) * dtype.itemsize),
        "zlib" if _is_true(header, "compresseddata") else "",
        (width, height, depth),
        dtype,
        frame=(frame, prod(sizes[3:])),
    )


def _voxel_type(header: TextHeader) -> np.dtype[Any]:
    name = header.fields["elementtype"]
    if name.upper() not in _TYPES:
        raise UserError(
            f"{header.path} holds voxels of the type {name[:40]}; a study takes numbers."
        )
    big = _is_true(header, "binarydatabyteordermsb", "elementbyteordermsb")
    return voxel_type(_TYPES[name.upper()], big_endian=big)


def _is_true(header: TextHeader, *names: str, default: str = "False") -> bool:
    return header.first(*names, default=default).lower() in _TRUE


def _skipped(header: TextHeader, data: Path, size: int) -> int:
    """Bytes at the start of a file with `size` bytes of voxels; -1 in the header means the rest."""
    if "headersize" not in header.fields:
        return 0
    skipped = header.integer("headersize")
    return skipped if skipped >= 0 else offset_from_end(data, size)


def _write(path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any]) -> None:
    count, kept = _repeated(path, source)
    if count > 3 or source.format != _NAME:
        count, kept = 3, _geometry_lines(volume)
    header = [
        "ObjectType = Image",
        f"NDims = {count}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        _packed_size(0),
        *kept,
        f"DimSize = {' '.join(str(n) for n in volume.geometry.file_shape[:count])}",
        f"ElementType = {'MET_UCHAR' if dtype.itemsize == 1 else 'MET_FLOAT'}",
        "ElementDataFile = LOCAL",
    ]
    with path.open("wb") as file:
        text = "\n".join(header) + "\n"
        file.write(text.encode())
        size = sum(file.write(piece) for piece in packed(volume, dtype, zlib.MAX_WBITS))
        # ITK wants to know the packed size, which is known only now.
        file.seek(0)
        file.write(text.replace(_packed_size(0), _packed_size(size)).encode())


def _repeated(path: Path, source: SourceInfo) -> tuple[int, list[str]]:
    """The number of axes of a source and the lines that say where its voxels lie."""
    if source.format != _NAME:
        return 3, []
    header = TextHeader.parsed(path, "MetaImage", "=", source.header)
    return header.integer("ndims"), header.kept(_GEOMETRY)


def _packed_size(size: int) -> str:
    return f"CompressedDataSize = {size:012d}"


def _geometry_lines(volume: Volume) -> list[str]:
    """New lines for a file of another format, or for one frame of a file with more axes."""
    lps = volume.geometry.lps_affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    lines = {
        "TransformMatrix": (lps[:3, :3] / spacing).T.ravel(),
        "Offset": lps[:3, 3],
        "ElementSpacing": spacing,
    }
    return [f"{name} = {' '.join(repr(float(v)) for v in row)}" for name, row in lines.items()]


FORMAT: Final = PlainFormat(_NAME, _open, _write, _calibrated)
