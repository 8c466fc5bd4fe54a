"""NRRD files (.nrrd, and .nhdr with its voxels in a second file)."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import times
from napari_mlbseg.formats.overlaps import Overlaps, empty_notes
from napari_mlbseg.formats.scan import (
    Forms,
    Scan,
    Slabs,
    finite_only,
    frame_notes,
    frame_of,
    usable_geometry,
    whole_numbers,
)
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.formats.streamed.detached import voxel_file
from napari_mlbseg.formats.streamed.slicer_segments import Segment, masks_in, segments_in
from napari_mlbseg.formats.streamed.stream import Stream, offset_from_end, packed
from napari_mlbseg.formats.streamed.text_header import (
    TextHeader,
    escaped,
    read_start,
    voxel_type,
)
from napari_mlbseg.volume import Geometry, Volume

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
_CODES: Final = {
    "right-anterior-superior": "ras",
    "left-anterior-superior": "las",
    "left-posterior-superior": "lps",
}
_SPATIAL: Final = ("space", "domain", "")
_LONGEST_HEADER: Final = 1 << 20
_KEPT: Final = ("space", "space origin", "space directions", "space units", "measurement frame")
"""Fields that say where the voxels lie; an export repeats them unchanged."""
_NEEDED: Final = ("dimension", "spacings", *_KEPT)

Steps = list[NDArray[np.float64] | None]
"""The step along each axis in the file's space; None for axes that are not spatial."""


@dataclass(frozen=True)
class _Opened:
    """A header that was read, and which of its axes are spatial."""

    header: TextHeader
    length: int
    sizes: tuple[int, ...]
    spatial: list[int]
    geometry: Geometry

    @property
    def frames(self) -> int:
        return prod(self.sizes) // prod(self.sizes[k] for k in self.spatial)

    def frame(self, number: int) -> Stream:
        """One of the volumes in the file."""
        stream = _stream(self.header, self.length, self.sizes, self.spatial, number)
        stream.require_plausible()
        return stream


class NrrdFormat:
    """Reads .nrrd and .nhdr, writes .nrrd; segmentations of 3D Slicer are labels with names."""

    name: str = _NAME

    def open_image(self, path: Path, choice: Choice) -> Scan:
        """The image, checked to be finite; raises `UserError` that names the file."""
        return finite_only(path, _open(path, choice))

    def open_labels(self, path: Path, choice: Choice) -> Scan:
        """Labels as uint8; all layers of a segmentation of 3D Slicer together."""
        opened = _opened(path)
        segments = segments_in(opened.header)
        if not segments:
            return whole_numbers(path, _open(path, choice))
        return _segmentation(path, opened, segments)

    def writes(self, path: Path, volume: Volume, source: SourceInfo, dtype: np.dtype[Any]) -> None:
        """Write voxels of this type; the header of a source of the same format is repeated."""
        write_nrrd(path, volume, source, dtype)

    def forms(self, source: SourceInfo, geometry: Geometry) -> Forms:
        """Whether a kept header says how large the voxels are."""
        header = TextHeader.parsed(Path(), "NRRD", ":", source.header)
        return Forms(calibrated=bool(header.first("space directions", "spacings")))


def _opened(path: Path) -> _Opened:
    """An axis without a direction, in front or at the end, counts frames."""
    block = _read_header(path)
    header = TextHeader.parsed(path, "NRRD", ":", block)
    sizes = header.sizes("sizes", "dimension")
    steps = _steps(header, len(sizes))
    spatial = [k for k, step in enumerate(steps) if step is not None]
    if not 2 <= len(spatial) <= 3 or spatial != list(range(spatial[0], spatial[-1] + 1)):
        raise UserError(
            f"{path} has {len(spatial)} spatial axes among {times(sizes)}; a study takes volumes "
            "with three axes that follow each other."
        )
    width, height, depth = (*(sizes[k] for k in spatial), 1)[:3]
    affine = _affine(header, [steps[k] for k in spatial])
    geometry = usable_geometry(path, (width, height, depth), affine)
    return _Opened(header, len(block), sizes, spatial, geometry)


def _open(path: Path, choice: Choice) -> Scan:
    opened = _opened(path)
    frame = frame_of(path, choice, opened.frames, opened.sizes)
    stream = opened.frame(frame)
    chosen = Choice(frame) if opened.frames > 1 else Choice()
    return Scan(
        opened.geometry,
        stream.dtype.newbyteorder("="),
        SourceInfo(_NAME, _kept(opened.header), chosen),
        2,
        stream.slabs,
        notes=frame_notes(path, frame, opened.frames),
    )


def _segmentation(path: Path, opened: _Opened, segments: Sequence[Segment]) -> Scan:
    """The layers of a segmentation in one array, one value for each segment."""
    layers = max(segment.layer for segment in segments) + 1
    if layers > opened.frames:
        raise UserError(
            f"{path} is damaged: a segment lies in layer {layers - 1}, but it has {opened.frames} "
            "layers."
        )
    scans = [
        whole_numbers(path, replace(_open(path, Choice(layer)), notes=()))
        for layer in range(opened.frames)
    ]
    overlaps, found = Overlaps(), set[int]()

    def stored() -> Slabs:
        overlaps.begin()
        found.clear()
        for together in zip(*(scan.stored() for scan in scans), strict=True):
            labels = np.zeros_like(together[0][1], order="F")
            for layer, (_, slab) in enumerate(together):
                for inside, value in masks_in(slab, segments, layer):
                    overlaps.put(labels, inside, value)
            found.update(np.flatnonzero(np.bincount(labels.ravel(order="K"))).tolist())
            yield together[0][0], labels

    names = {segment.value: segment.name for segment in segments if segment.name}
    return Scan(
        opened.geometry,
        np.dtype(np.uint8),
        SourceInfo(_NAME, _kept(opened.header)),
        2,
        stored,
        names=names,
        colors={s.value: s.color for s in segments if s.color is not None},
        partial=True,
        found_later=lambda: (*overlaps.notes(path, names), *empty_notes(path, names, found)),
    )


def _read_header(path: Path) -> bytes:
    """Everything before the voxels: all lines up to the first empty one."""
    start = read_start(path, _LONGEST_HEADER)
    if not start.startswith(b"NRRD000"):
        raise UserError(f"{path} is not an NRRD file: it does not start like one.")
    ends = [
        end for mark in (b"\n\n", b"\r\n\r\n") if (end := start.find(mark) + len(mark)) >= len(mark)
    ]
    if ends:
        return start[: min(ends)]
    if len(start) < _LONGEST_HEADER and path.suffix.lower() == ".nhdr":
        return start
    raise UserError(f"{path} has no complete NRRD header. Copy the file again.")


def _steps(header: TextHeader, count: int) -> Steps:
    if "space directions" in header.fields:
        return _steps_in_space(header, count)
    return _steps_along_axes(header, count)


def _steps_in_space(header: TextHeader, count: int) -> Steps:
    words = _vectors(header.fields["space directions"])
    try:
        found = [None if w.lower() == "none" else _vector(w) for w in words]
    except ValueError as error:
        raise header.damaged("space directions") from error
    if len(found) != count or any(v is not None and not 2 <= v.size <= 3 for v in found):
        raise header.damaged("space directions")
    return [None if v is None else np.append(v, [0.0] * (3 - v.size)) for v in found]


def _steps_along_axes(header: TextHeader, count: int) -> Steps:
    """The steps of a file that records spacings alone."""
    kinds = header.first("kinds").lower().split()
    spatial = [k for k in range(count) if len(kinds) != count or kinds[k] in _SPATIAL][:3]
    try:
        words = header.first("spacings", default=" ".join(["1"] * count)).split()
        spacings = [
            1.0 if w.lower() == "nan" and k not in spatial else float(w)
            for k, w in enumerate(words)
        ]
    except ValueError as error:
        raise header.damaged("spacings") from error
    if len(spacings) != count:
        raise header.damaged("spacings")
    return [
        np.eye(3)[spatial.index(k)] * spacings[k] if k in spatial else None for k in range(count)
    ]


def _affine(header: TextHeader, steps: Steps) -> NDArray[np.float64]:
    affine = np.eye(4)
    for k, step in enumerate(steps):
        affine[:3, k] = step
    if len(steps) == 2:
        with np.errstate(all="ignore"):
            across = np.cross(affine[:3, 0], affine[:3, 1])
            affine[:3, 2] = across / (np.linalg.norm(across) or 1.0)
    if "space origin" in header.fields:
        try:
            origin = _vector(header.fields["space origin"])
            affine[: origin.size, 3] = origin
        except (ValueError, IndexError) as error:
            raise header.damaged("space origin") from error
    with np.errstate(all="ignore"):  # what is not finite is refused by the caller
        return np.asarray(_to_ras(header) @ affine)


def _to_ras(header: TextHeader) -> NDArray[np.float64]:
    """4 x 4: from the file's space to RAS."""
    space = header.first("space", default="lps").lower()
    code = _CODES.get(space, space)
    if code not in _CODES.values():
        known = ", ".join(sorted([*_CODES, *_CODES.values()]))
        raise UserError(f"{header.path} lies in the space {space[:40]!r}; known are {known}.")
    return np.diag([*(-1.0 if letter in "lp" else 1.0 for letter in code), 1.0])


def _stream(
    header: TextHeader, length: int, sizes: tuple[int, ...], spatial: list[int], frame: int
) -> Stream:
    """Where one frame lies, in a file whose header takes `length` bytes."""
    path, dtype = header.path, _voxel_type(header)
    encoding = _ENCODINGS.get(header.first("encoding").lower())
    if encoding is None:
        raise header.damaged("encoding")
    detached = "data file" in header.fields or "datafile" in header.fields
    data = voxel_file(path, header.first("data file", "datafile")) if detached else path
    skipped = header.first("byte skip", default="0")
    if header.first("line skip", default="0") != "0" or skipped not in ("0", "-1"):
        raise UserError(f"{path} skips a part of its file of voxels, which is not supported.")
    offset = 0 if detached else length
    if skipped == "-1" and not encoding:
        offset = offset_from_end(data, prod(sizes) * dtype.itemsize)
    width, height, depth = (*(sizes[k] for k in spatial), 1)[:3]
    return Stream.of_frame(
        data,
        offset,
        encoding,
        (width, height, depth),
        dtype,
        frame=(frame, prod(sizes) // (width * height * depth)),
        interleaved=prod(sizes[: spatial[0]]),
    )


def _voxel_type(header: TextHeader) -> np.dtype[Any]:
    name = header.first("type").lower()
    kind = next((kind for kind, names in _TYPES.items() if name in names), None)
    if kind is None:
        raise header.damaged("type")
    return voxel_type(kind, big_endian=header.first("endian").lower() == "big")


def _vectors(text: str) -> list[str]:
    return text.replace(")", ") ").replace(", ", ",").split()


def _vector(text: str) -> NDArray[np.float64]:
    text = text.strip()
    if not (text.startswith("(") and text.endswith(")")):
        raise ValueError(f"no vector: {text[:40]!r}")
    return np.array([float(part) for part in text[1:-1].split(",")])


def _kept(header: TextHeader) -> bytes:
    """The lines of a header that an export needs, after the one that names the format."""
    return "\n".join([header.lines[0], *header.kept(_NEEDED)]).encode()


def write_nrrd(
    path: Path,
    volume: Volume,
    source: SourceInfo,
    dtype: np.dtype[Any],
    pairs: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write voxels of this type, and what a file may say besides its fields."""
    axes, kept = 3, _geometry_lines(volume)
    if source.format == _NAME:
        own = TextHeader.parsed(path, "NRRD", ":", source.header)
        axes = min(own.integer("dimension"), 3)
        kept = _repeated_lines(own, axes)
    header = [
        "NRRD0005",
        f"type: {'uint8' if dtype.itemsize == 1 else 'float'}",
        f"dimension: {axes}",
        f"sizes: {' '.join(str(n) for n in volume.geometry.file_shape[:axes])}",
        "encoding: gzip",
        *(["endian: little"] if dtype.itemsize > 1 else []),
        *kept,
        *(f"{key}:={escaped(value)}" for key, value in pairs.items()),
    ]
    with path.open("wb") as file:
        file.write(("\n".join(header) + "\n\n").encode())
        file.writelines(packed(volume, dtype, zlib.MAX_WBITS | 16))


def _geometry_lines(volume: Volume) -> list[str]:
    """New lines for a file of another format."""
    lps = volume.geometry.lps_affine
    vectors = [f"({','.join(repr(float(v)) for v in lps[:3, k])})" for k in range(4)]
    return [
        "space: left-posterior-superior",
        f"space directions: {' '.join(vectors[:3])}",
        "kinds: domain domain domain",
        f"space origin: {vectors[3]}",
    ]


def _repeated_lines(header: TextHeader, axes: int) -> list[str]:
    """The lines of a source that say where its voxels lie, for so many axes."""
    kept = [_only_spatial(line) for line in header.kept(_KEPT)]
    if "space directions" in header.fields:
        return kept
    words = [w for w in header.first("spacings").split() if w.lower() != "nan"]
    return [*kept, f"spacings: {' '.join(words[:axes])}"] if words else kept


def _only_spatial(line: str) -> str:
    """A line of space directions without those axes that an export of one frame lacks."""
    name, _, value = line.partition(":")
    if name.strip().lower() != "space directions":
        return line
    return f"{name}: {' '.join(v for v in _vectors(value) if v.lower() != 'none')}"


FORMAT: Final = NrrdFormat()
