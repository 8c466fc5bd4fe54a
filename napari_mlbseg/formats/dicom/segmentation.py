"""DICOM segmentations as labels: one value per segment, its number."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.apart import not_on_grid
from napari_mlbseg.formats.dicom.marks import marked_class
from napari_mlbseg.formats.dicom.pixels import decoded_frames
from napari_mlbseg.formats.dicom.planes import (
    Header,
    Plane,
    planes_of,
    quiet,
    read_header,
)
from napari_mlbseg.formats.dicom.reading import read_dataset
from napari_mlbseg.formats.dicom.stack import UNEVEN_SHARE
from napari_mlbseg.formats.overlaps import Overlaps
from napari_mlbseg.formats.scan import (
    Scan,
    Slabs,
    filled,
    readable,
    require_size,
    usable_geometry,
)
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.volume import LPS_TO_RAS, SAME_PLACE_VOXELS, Geometry

_MAX_LABEL: Final = 254
_BESIDE_VOXELS: Final = (SAME_PLACE_VOXELS, SAME_PLACE_VOXELS, 2 * UNEVEN_SHARE)
"""How far a frame may lie off the grid, because image positions are rounded."""


@dataclass(frozen=True)
class _Segmentation:
    """Frames of segments; several frames may lie at one position, and empty ones may be absent.

    Attributes
    ----------
    segments
        The segment of each frame; 0 if the voxels are labels themselves.
    full
        The value that means "all of the voxel" in fractional segmentations, otherwise 1.
    """

    path: Path
    planes: tuple[Plane, ...]
    segments: tuple[int, ...]
    names: dict[int, str]
    full: int

    def grid(self, step: NDArray[Any]) -> tuple[Geometry, NDArray[np.intp]]:
        """The smallest grid that holds all frames, and the slice of each frame in it.

        `step` leads from one slice to the next, in LPS mm.
        """
        affine = min(self.planes, key=lambda plane: plane.depth).affine(step)
        ras = np.array([plane.position for plane in self.planes]) * np.diag(LPS_TO_RAS)[:3]
        indices = np.linalg.solve(affine[:3, :3], (ras - affine[:3, 3]).T).T
        slices = np.rint(indices[:, 2]).astype(np.intp)
        off = np.abs(indices - np.outer(slices, [0, 0, 1])).max(axis=0)
        if (off > _BESIDE_VOXELS).any():
            raise UserError(
                f"{self.path} has frames that do not lie on one grid: they are up to "
                f"{off.max():.3g} voxels beside it."
            )
        first = self.planes[0]
        shape = (first.columns, first.rows, int(slices.max()) + 1)
        require_size(self.path, shape, 1, self.path.stat().st_size)
        return usable_geometry(self.path, shape, affine), slices

    def labels(
        self, geometry: Geometry, slices: NDArray[np.intp], overlaps: Overlaps
    ) -> NDArray[np.uint8]:
        """The labels in the file's frame; where segments overlap, the higher number wins."""
        labels = np.zeros(geometry.file_shape, np.uint8, order="F")
        overlaps.begin()
        with readable(self.path, "DICOM"), quiet():
            for k, (index, frame) in enumerate(zip(slices, decoded_frames(self.path), strict=True)):
                target = labels[:, :, index]
                mask = np.asarray(frame).T
                if not self.segments[k]:
                    _require_labels(self.path, mask)
                    np.maximum(target, mask, out=target, casting="unsafe")
                else:
                    inside = 2 * mask.astype(np.uint32) >= self.full
                    overlaps.put(target, inside, self.segments[k])
        return labels


def open_segmentation(path: Path) -> Scan:
    """Labels of a segmentation; until an image is given, on the smallest grid around its frames."""
    header = read_header(path)
    with readable(path, "DICOM"), quiet():
        found = _segmentation(header)
        geometry, slices = found.grid(_own_step(found))
    names = {n: name for n, name in found.names.items() if 1 <= n <= _MAX_LABEL}
    scan = _scan(found, geometry, slices, names)
    return replace(scan, onto=lambda image: _onto(found, names, image))


def _scan(
    found: _Segmentation, geometry: Geometry, slices: NDArray[np.intp], names: dict[int, str]
) -> Scan:
    overlaps = Overlaps()

    def stored() -> Slabs:
        yield 0, found.labels(geometry, slices, overlaps)

    return Scan(
        geometry,
        np.dtype(np.uint8),
        SourceInfo("dicom", b"{}"),
        2,
        stored,
        names=names,
        found_later=lambda: overlaps.notes(found.path, names),
    )


def _onto(found: _Segmentation, names: dict[int, str], image: Geometry) -> Scan:
    """The segmentation on the grid of an image; slices that it lacks are empty."""
    step = _step_along(image, found.planes[0].normal)
    geometry, slices = found.grid(step)
    placed = _snapped(geometry, image).placed_in(image)
    if placed is None:
        raise not_on_grid(found.path, geometry, image)
    return filled(_scan(found, geometry, slices, names), placed, image)


def _snapped(geometry: Geometry, image: Geometry) -> Geometry:
    """The same grid, moved onto the nearest slice of the image if that is close."""
    affine = np.asarray(geometry.affine)
    first = np.linalg.solve(image.display_affine, affine[:, 3])
    steps = np.linalg.solve(image.display_affine, affine)[:3, 2]
    across = int(np.argmax(np.abs(steps)))
    shift = np.rint(first[across]) - first[across]
    if abs(shift) > UNEVEN_SHARE:
        return geometry
    moved = affine.copy()
    moved[:, 3] += shift * image.display_affine[:, across]
    return Geometry.from_affine(geometry.file_shape, moved)


def _segmentation(header: Header) -> _Segmentation:
    path = header.path
    dataset = read_dataset(
        path,
        stop_before_pixels=True,
        specific_tags=[
            "SegmentSequence",
            "SegmentationType",
            "MaximumFractionalValue",
            "PerFrameFunctionalGroupsSequence",
            "SharedFunctionalGroupsSequence",
        ],
    )
    names = {
        int(segment.SegmentNumber): str(segment.get("SegmentLabel") or "").strip()
        for segment in dataset.get("SegmentSequence") or []
    }
    kind = str(dataset.get("SegmentationType") or "BINARY")
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise UserError(f"{path} is a segmentation of the unknown type {kind}.")
    planes = planes_of(header)
    values = _class_values(dataset)
    names |= {number: name for number, name in _whole_names(dataset).items() if name}
    names = {values.get(number, number): name for number, name in names.items()}
    numbers = _segment_numbers(path, dataset, kind, len(planes))
    segments = tuple(values.get(number, number) for number in numbers)
    if not planes or max(segments) > _MAX_LABEL:
        raise UserError(
            f"{path} holds {len(planes)} frames and segments up to {max(segments, default=0)}; "
            f"classes run from 1 to {_MAX_LABEL}."
        )
    full = int(dataset.get("MaximumFractionalValue") or 255) if kind == "FRACTIONAL" else 1
    return _Segmentation(path, tuple(planes), segments, {n: s for n, s in names.items() if s}, full)


def _class_values(dataset: Dataset) -> dict[int, int]:
    """The class value of each segment, if this software wrote the file: segments have no gaps."""
    marks = _marks(dataset)
    known = {number: mark[0] for number, mark in marks.items() if mark is not None}
    return known if len(known) == len(marks) else {}


def _whole_names(dataset: Dataset) -> dict[int, str]:
    """Names that the labels of segments do not hold as a whole, if this software wrote the file."""
    return {number: mark[1] for number, mark in _marks(dataset).items() if mark is not None}


def _marks(dataset: Dataset) -> dict[int, tuple[int, str] | None]:
    return {
        int(segment.SegmentNumber): marked_class(str(segment.get("TrackingID") or ""))
        for segment in dataset.get("SegmentSequence") or []
    }


def _segment_numbers(path: Path, dataset: Dataset, kind: str, frames: int) -> Iterator[int]:
    if kind == "LABELMAP":
        yield from [0] * frames
        return
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])
    for group in dataset.PerFrameFunctionalGroupsSequence:
        found = [level.get("SegmentIdentificationSequence") for level in (group, *shared)]
        known = next((items for items in found if items), None)
        if known is None:
            raise UserError(f"{path} does not say which segment its frames belong to.")
        yield int(known[0].ReferencedSegmentNumber)


def _own_step(found: _Segmentation) -> NDArray[Any]:
    """The step to the next slice in LPS mm, as far as the segmentation itself records it."""
    first = found.planes[0]
    depths = np.unique(np.round([plane.depth for plane in found.planes], 4))
    gaps = np.diff(depths)
    gap = float(gaps.min()) if gaps.size else first.thickness
    if gap <= 0:
        gap = 1.0
    ends = sorted(found.planes, key=lambda plane: plane.depth)
    run = np.asarray(ends[-1].position) - np.asarray(ends[0].position)
    length = float(run @ first.normal)
    return run * (gap / length) if length > 0 else first.normal * gap


def _step_along(image: Geometry, normal: NDArray[Any]) -> NDArray[Any]:
    """The step of the image that is closest to `normal`, in LPS mm."""
    columns = image.lps_affine[:3, :3]
    along = normal @ (columns / np.linalg.norm(columns, axis=0))
    best = int(np.argmax(np.abs(along)))
    return np.asarray(columns[:, best] * np.sign(along[best]))


def _require_labels(path: Path, mask: NDArray[Any]) -> None:
    if mask.size and int(mask.max()) > _MAX_LABEL:
        raise UserError(f"{path} holds the label {int(mask.max())}; classes end at {_MAX_LABEL}.")
