"""MetaImage files (.mha, and .mhd with its voxels in a second file), read without ITK."""

import zlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import times
from napari_mlbseg.formats.plain import PlainFormat
from napari_mlbseg.formats.scan import (
    Scan,
    frame_of,
    usable_geometry,
)
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.formats.streamed.detached import named_beside
from napari_mlbseg.formats.streamed.stream import Stream, explained, file_slabs
from napari_mlbseg.volume import Volume

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
_LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])

_GEOMETRY: Final = (
    "transformmatrix",
    "rotation",
    "orientation",
    "offset",
    "position",
    "origin",
    "centerofrotation",
    "anatomicalorientation",
    "elementspacing",
    "elementsize",
)
"""Lines that say where voxels lie; what is exported repeats them to the letter."""
_NEEDED: Final = ("ndims", *_GEOMETRY)


def _open(path: Path, choice: Choice) -> Scan:
    header, text = _read_header(path)
    fields = _fields(path, header)
    sizes = tuple(int(v) for v in _numbers(path, fields, "dimsize", whole=True))
    count = _count(path, fields)
    if len(sizes) != count or min(sizes) < 1:
        raise UserError(f"{path} has a damaged MetaImage header: sizes {times(sizes)}.")
    shape = (*sizes, 1)[:3]
    channels = int((fields.get("elementnumberofchannels") or "1").strip() or "1")
    if channels != 1:
        raise UserError(
            f"{path} holds {channels} channels per voxel; a study takes grey values. Save the "
            "channel that is to be segmented as a file of its own."
        )
    frames = prod(sizes[3:])
    frame = frame_of(path, choice, frames, sizes)
    stream = _stream(path, fields, (shape[0], shape[1], shape[2]), len(header), frame)
    stream.require_plausible()
    geometry = usable_geometry(path, stream.shape, _affine(path, fields, count))
    source = SourceInfo(_NAME, _kept(text), Choice(frame) if frames > 1 else Choice())
    return Scan(geometry, stream.dtype.newbyteorder("="), source, 2, stream.slabs)


def _read_header(path: Path) -> tuple[bytes, bytes]:
    """Everything before the voxels, and the lines that are kept for the export."""
    with explained(path), path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    lines = start.split(b"\n")
    length = 0
    for line in lines[:-1]:
        length += len(line) + 1
        if line.split(b"=")[0].strip().lower() == b"elementdatafile":
            return start[:length], start[:length]
    if lines[-1].split(b"=")[0].strip().lower() == b"elementdatafile":
        return start, start
    raise UserError(f"{path} is not a MetaImage file: it has no complete header.")


def _fields(path: Path, header: bytes) -> dict[str, str]:
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a MetaImage file: its header is no text.") from error
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    fields = {name.strip().lower(): value.strip() for name, value in pairs}
    if fields.get("objecttype", "Image").lower() != "image" or "elementtype" not in fields:
        raise UserError(f"{path} is not a MetaImage file of an image.")
    return fields


def _count(path: Path, fields: Mapping[str, str]) -> int:
    (count,) = _numbers(path, fields, "ndims", whole=True, length=1)
    if not 2 <= count <= 7:
        raise UserError(f"{path} has a damaged MetaImage header: {count:g} dimensions.")
    return int(count)


def _numbers(
    path: Path, fields: Mapping[str, str], name: str, *, whole: bool = False, length: int = 0
) -> list[float]:
    words = fields.get(name, "").split()
    try:
        numbers = [float(int(word)) if whole else float(word) for word in words]
    except (ValueError, OverflowError):
        numbers = []
    if not numbers or (length and len(numbers) != length):
        raise UserError(
            f"{path} has a damaged MetaImage header: {name} is {' '.join(words)[:80]!r}."
        )
    return numbers


def _affine(path: Path, fields: Mapping[str, str], count: int) -> NDArray[np.float64]:
    """RAS affine of the first three axes; those of a flat image are completed."""
    directions, origin, spacing = (
        np.eye(max(3, count)),
        np.zeros(max(3, count)),
        np.ones(max(3, count)),
    )
    for name in ("transformmatrix", "rotation", "orientation"):
        if name in fields:
            matrix = _numbers(path, fields, name, length=count * count)
            # The file lists the direction of one axis after the other.
            directions[:count, :count] = np.reshape(matrix, (count, count)).T
            break
    for name in ("offset", "position", "origin"):
        if name in fields:
            origin[:count] = _numbers(path, fields, name, length=count)
            break
    for name in ("elementspacing", "elementsize"):
        if name in fields:
            spacing[:count] = _numbers(path, fields, name, length=count)
            break
    affine = np.eye(4)
    affine[:3, 3] = origin[:3]
    with np.errstate(all="ignore"):  # what is not finite is refused by the caller
        affine[:3, :3] = directions[:3, :3] * spacing[:3]
        return _LPS_TO_RAS @ affine


def _stream(
    path: Path, fields: Mapping[str, str], shape: tuple[int, int, int], header: int, frame: int
) -> Stream:
    kind = _TYPES.get(fields["elementtype"].upper())
    if kind is None:
        raise UserError(
            f"{path} holds voxels of the type {fields['elementtype'][:40]}; a study takes numbers."
        )
    big = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "False"))
    dtype = np.dtype(kind).newbyteorder(">" if big.lower() in _TRUE else "<")
    if fields.get("binarydata", "True").lower() not in _TRUE:
        raise UserError(f"{path} stores its voxels as text, which is not supported. Save it again.")
    packed = fields.get("compresseddata", "False").lower() in _TRUE
    name = fields["elementdatafile"]
    local = name.upper() == "LOCAL"
    if not local and (name.upper().startswith("LIST") or not name or set("%\0") & set(name)):
        raise UserError(f"{path} spreads its voxels over several files. Save it as one file.")
    data = path if local else named_beside(path, name)
    skip = prod(shape) * dtype.itemsize * frame
    start = header if local else _skipped(path, fields, data, shape, dtype)
    if packed:
        return Stream(data, start, "zlib", shape, dtype, skip=skip)
    return Stream(data, start + skip, "", shape, dtype)


def _skipped(
    path: Path,
    fields: Mapping[str, str],
    data: Path,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
) -> int:
    """Bytes at the start of a file of voxels; -1 in the header counts from its end."""
    if "headersize" not in fields:
        return 0
    (size,) = _numbers(path, fields, "headersize", whole=True, length=1)
    if size >= 0:
        return int(size)
    with explained(data):
        return data.stat().st_size - prod(shape) * dtype.itemsize


def _kept(header: bytes) -> bytes:
    """The lines of a header that an export needs; others may name a patient."""
    lines = (line for line in header.splitlines() if _name(line.decode("utf-8")) in _NEEDED)
    return b"\n".join(lines)


def _name(line: str) -> str:
    return line.split("=")[0].strip().lower()


def _write(path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any]) -> None:
    shape = volume.geometry.file_shape
    count, kept = 3, []
    if source.format == _NAME:
        fields = source.header.decode("utf-8").splitlines()
        count = next(int(f.split("=")[1]) for f in fields if _name(f) == "ndims")
        kept = [f for f in fields if _name(f) in _GEOMETRY]
    if source.format != _NAME or count > 3:
        kept, count = _geometry_lines(volume), 3
    header = [
        "ObjectType = Image",
        f"NDims = {count}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        _packed_size(0),
        *kept,
        f"DimSize = {' '.join(str(n) for n in shape[:count])}",
        f"ElementType = {'MET_UCHAR' if dtype.itemsize == 1 else 'MET_FLOAT'}",
        "ElementDataFile = LOCAL",
    ]
    with path.open("wb") as file:
        text = "\n".join(header) + "\n"
        file.write(text.encode())
        size = sum(file.write(piece) for piece in _packed(volume, dtype))
        # ITK wants to know it, and it is known now.
        file.seek(0)
        file.write(text.replace(_packed_size(0), _packed_size(size)).encode())


def _packed_size(size: int) -> str:
    return f"CompressedDataSize = {size:012d}"


def _geometry_lines(volume: Volume) -> list[str]:
    """New lines for a file of another format, or for one frame of a file with more axes."""
    lps = _LPS_TO_RAS @ np.asarray(volume.geometry.affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    lines = {
        "TransformMatrix": (lps[:3, :3] / spacing).T.ravel(),
        "Offset": lps[:3, 3],
        "ElementSpacing": spacing,
    }
    return [f"{name} = {' '.join(repr(float(v)) for v in row)}" for name, row in lines.items()]


def _packed(volume: Volume, dtype: np.dtype[Any]) -> Iterator[bytes]:
    pack = zlib.compressobj(4)
    for _, slab in file_slabs(volume, dtype):
        yield pack.compress(slab.tobytes(order="F"))
    yield pack.flush()


FORMAT: Final = PlainFormat(_NAME, _open, _write)
