"""NRRD files (.nrrd, and .nhdr with its voxels in a second file)."""

import gzip
from collections.abc import Mapping
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
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_ENCODINGS: Final = {
    "raw": "",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
}
_NAME: Final = "nrrd"
_TO_RAS: Final = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
_SPATIAL: Final = ("space", "domain", "")
_LONGEST_HEADER: Final = 1 << 20
_KEPT: Final = ("space", "space origin", "space directions", "space units", "measurement frame")
"""Lines that say where voxels lie; what is exported repeats them to the letter."""
_NEEDED: Final = ("dimension", "spacings", *_KEPT)


def _open(path: Path, choice: Choice) -> Scan:
    """A volume; an axis without a direction, in front or at the end, counts frames."""
    header = _read_header(path)
    fields = _fields(path, header)
    sizes = _sizes(path, fields)
    directions = _directions(path, fields, len(sizes))
    spatial = [k for k, direction in enumerate(directions) if direction is not None]
    if not 2 <= len(spatial) <= 3 or spatial != list(range(spatial[0], spatial[-1] + 1)):
        raise UserError(
            f"{path} has {len(spatial)} spatial axes among {times(sizes)}; a study takes volumes "
            "with three axes that follow each other."
        )
    frames = prod(sizes) // prod(sizes[k] for k in spatial)
    frame = frame_of(path, choice, frames, sizes)
    stream = _stream(path, fields, header, sizes, spatial, frame)
    affine = _affine(path, fields, [directions[k] for k in spatial])
    geometry = usable_geometry(path, stream.shape, affine)
    chosen = Choice(frame) if frames > 1 else Choice()
    source = SourceInfo(_NAME, _kept(header), chosen)
    return Scan(geometry, stream.dtype.newbyteorder("="), source, 2, stream.slabs)


def _read_header(path: Path) -> bytes:
    with explained(path), path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
        whole = len(start) < _LONGEST_HEADER
    if not start.startswith(b"NRRD000"):
        raise UserError(f"{path} is not an NRRD file: it does not start like one.")
    ends = [
        end for mark in (b"\n\n", b"\r\n\r\n") if (end := start.find(mark) + len(mark)) >= len(mark)
    ]
    if ends:
        return start[: min(ends)]
    if whole and path.suffix.lower() == ".nhdr":
        return start
    raise UserError(f"{path} has no complete NRRD header. Copy the file again.")


def _fields(path: Path, header: bytes) -> dict[str, str]:
    try:
        lines = header.decode("utf-8").splitlines()[1:]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} has a damaged NRRD header: it is no text.") from error
    pairs = (line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    return {n.strip().lower(): v.strip() for n, v in pairs if not v.startswith("=")}


def _damaged(path: Path, fields: Mapping[str, str], name: str) -> UserError:
    return UserError(
        f"{path} has a damaged NRRD header: {name} is {fields.get(name, 'missing')[:80]!r}."
    )


def _sizes(path: Path, fields: Mapping[str, str]) -> tuple[int, ...]:
    try:
        sizes = tuple(int(word) for word in fields["sizes"].split())
        count = int(fields["dimension"])
    except (KeyError, ValueError) as error:
        raise _damaged(path, fields, "sizes") from error
    if len(sizes) != count or not 2 <= count <= 8 or min(sizes) < 1:
        raise _damaged(path, fields, "sizes")
    return sizes


def _directions(
    path: Path, fields: Mapping[str, str], count: int
) -> list[NDArray[np.float64] | None]:
    """The step along each axis in the file's space; None for axes that are not spatial."""
    if "space directions" in fields:
        words = _vectors(fields["space directions"])
        try:
            found = [None if w.lower() == "none" else _vector(w) for w in words]
        except ValueError as error:
            raise _damaged(path, fields, "space directions") from error
        if len(found) != count or any(v is not None and not 2 <= v.size <= 3 for v in found):
            raise _damaged(path, fields, "space directions")
        return [None if v is None else np.append(v, [0.0] * (3 - v.size)) for v in found]
    kinds = fields.get("kinds", "").lower().split()
    spatial = [k for k in range(count) if len(kinds) != count or kinds[k] in _SPATIAL][:3]
    try:
        words = fields.get("spacings", " ".join(["1"] * count)).split()
        spacings = [
            1.0 if w.lower() == "nan" and k not in spatial else float(w)
            for k, w in enumerate(words)
        ]
    except ValueError as error:
        raise _damaged(path, fields, "spacings") from error
    if len(spacings) != count:
        raise _damaged(path, fields, "spacings")
    return [
        np.eye(3)[spatial.index(k)] * spacings[k] if k in spatial else None for k in range(count)
    ]


def _affine(
    path: Path, fields: Mapping[str, str], directions: list[NDArray[np.float64] | None]
) -> NDArray[np.float64]:
    space = fields.get("space", "left-posterior-superior").lower()
    if space not in _TO_RAS:
        raise UserError(
            f"{path} lies in the space {space[:40]!r}; known are {', '.join(sorted(_TO_RAS))}."
        )
    affine = np.eye(4)
    for k, direction in enumerate(directions):
        affine[:3, k] = direction
    if len(directions) == 2:
        with np.errstate(all="ignore"):
            across = np.cross(affine[:3, 0], affine[:3, 1])
            affine[:3, 2] = across / (np.linalg.norm(across) or 1.0)
    if "space origin" in fields:
        try:
            origin = _vector(fields["space origin"])
            affine[: origin.size, 3] = origin
        except (ValueError, IndexError) as error:
            raise _damaged(path, fields, "space origin") from error
    with np.errstate(all="ignore"):  # what is not finite is refused by the caller
        return np.asarray(np.diag([*map(float, _TO_RAS[space]), 1.0]) @ affine)


def _stream(
    path: Path,
    fields: Mapping[str, str],
    header: bytes,
    sizes: tuple[int, ...],
    spatial: list[int],
    frame: int,
) -> Stream:
    kind = next((k for k, names in _TYPES.items() if fields.get("type", "").lower() in names), None)
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower())
    if kind is None or encoding is None:
        raise _damaged(path, fields, "type" if kind is None else "encoding")
    dtype = np.dtype(kind).newbyteorder(">" if fields.get("endian", "").lower() == "big" else "<")
    name = fields.get("data file", fields.get("datafile"))
    if name is not None and (set("%\0") & set(name) or name.startswith("LIST")):
        raise UserError(f"{path} spreads its voxels over several files. Save it as one file.")
    data = path if name is None else named_beside(path, name)
    if fields.get("line skip", "0") != "0" or fields.get("byte skip", "0") not in ("0", "-1"):
        raise UserError(f"{path} skips a part of its file of voxels, which is not supported.")
    inner = prod(sizes[: spatial[0]])
    shape = (*(sizes[k] for k in spatial), 1)[:3]
    skip = (frame // inner) * prod(shape) * inner * dtype.itemsize
    size = prod(shape) * inner * dtype.itemsize
    stream = Stream(
        data,
        0 if name is not None else len(header),
        encoding,
        (shape[0], shape[1], shape[2]),
        dtype,
        skip=skip,
        interleaved=(inner, frame % inner),
        after=prod(sizes) * dtype.itemsize - skip - size,
    )
    if fields.get("byte skip") == "-1" and not encoding:
        with explained(data):
            held = data.stat().st_size
        stream = stream.at(held - prod(sizes) * dtype.itemsize)
    stream.require_plausible()
    return stream


def _vectors(text: str) -> list[str]:
    return text.replace(")", ") ").replace(", ", ",").split()


def _vector(text: str) -> NDArray[np.float64]:
    text = text.strip()
    if not (text.startswith("(") and text.endswith(")")):
        raise ValueError(f"no vector: {text[:40]!r}")
    return np.array([float(part) for part in text[1:-1].split(",")])


def _kept(header: bytes) -> bytes:
    """The lines of a header that an export needs; others may name a patient."""
    first, *lines = header.decode("utf-8").splitlines()
    return "\n".join([first, *(line for line in lines if _name(line) in _NEEDED)]).encode()


def _name(line: str) -> str:
    return line.split(":")[0].strip().lower()


def _write(path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any]) -> None:
    shape = volume.geometry.file_shape
    flat, kept = False, _geometry_lines(volume)
    if source.format == _NAME:
        lines = source.header.decode("utf-8").splitlines()
        flat = any(_name(x) == "dimension" and int(x.split(":")[1]) == 2 for x in lines)
        kept = _repeated_lines(lines, 2 if flat else 3)
    header = [
        "NRRD0005",
        f"type: {'uint8' if dtype.itemsize == 1 else 'float'}",
        f"dimension: {2 if flat else 3}",
        f"sizes: {' '.join(str(n) for n in (shape[:2] if flat else shape))}",
        "encoding: gzip",
        *(["endian: little"] if dtype.itemsize > 1 else []),
        *kept,
    ]
    with path.open("wb") as file:
        file.write(("\n".join(header) + "\n\n").encode())
        with gzip.GzipFile("", "wb", 4, file, mtime=0) as packed:
            for _, slab in file_slabs(volume, dtype):
                packed.write(slab.tobytes(order="F"))


def _geometry_lines(volume: Volume) -> list[str]:
    """New lines for a file of another format."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(volume.geometry.affine)
    vectors = [f"({','.join(repr(float(v)) for v in lps[:3, k])})" for k in range(4)]
    return [
        "space: left-posterior-superior",
        f"space directions: {' '.join(vectors[:3])}",
        "kinds: domain domain domain",
        f"space origin: {vectors[3]}",
    ]


def _repeated_lines(lines: list[str], dimension: int) -> list[str]:
    """The lines of a source that say where its voxels lie."""
    kept = [_only_spatial(line) for line in lines[1:] if _name(line) in _KEPT]
    if not any(_name(line) == "space directions" for line in kept):
        spacings = [line for line in lines if _name(line) == "spacings"]
        words = [w for w in " ".join(spacings).partition(":")[2].split() if w.lower() != "nan"]
        kept += [f"spacings: {' '.join(words[:dimension])}"] if words else []
    return kept


def _only_spatial(line: str) -> str:
    """A line without the axes that are no longer there."""
    name, _, value = line.partition(":")
    if name.strip().lower() != "space directions":
        return line
    return f"{name}: {' '.join(v for v in _vectors(value) if v.lower() != 'none')}"


FORMAT: Final = PlainFormat(_NAME, _open, _write)
