"""Contours of an RT structure set as labels on the voxels of an image."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.dicom.marks import marked_class
from napari_mlbseg.formats.dicom.planes import Header, quiet
from napari_mlbseg.formats.dicom.reading import read_dataset
from napari_mlbseg.formats.limits import require_memory
from napari_mlbseg.formats.overlaps import Overlaps, empty_notes
from napari_mlbseg.formats.scan import Scan, Slabs, readable
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.volume import Geometry

_MAX_LABEL: Final = 254
_FLAT_VOXELS: Final = 0.5
"""How far the points of a contour may lie off its slice."""
_BESIDE_VOXELS: Final = 0.1
_CLOSED: Final = "CLOSED_PLANAR"


@dataclass(frozen=True)
class _Region:
    """A structure with its closed contours: points in LPS mm, shape (n, 3)."""

    value: int
    name: str
    color: tuple[int, int, int] | None
    contours: tuple[NDArray[np.float64], ...]


@dataclass
class _Left:
    """What of the contours did not become labels while they were filled."""

    outside: int = 0
    oblique: int = 0
    beside: float = 0.0
    found: set[int] = field(default_factory=set)

    def begin(self) -> None:
        """Forget what was counted: the contours are filled again."""
        self.outside = self.oblique = 0
        self.beside = 0.0
        self.found.clear()

    def notes(self, path: Path) -> list[str]:
        """What was left out or moved, in sentences."""
        told = []
        if self.outside:
            told.append(f"{path}: {self.outside} contours lie outside of the image, left out.")
        if self.oblique:
            told.append(
                f"{path}: {self.oblique} contours do not lie in a slice of the image, left out."
            )
        if self.beside > _BESIDE_VOXELS:
            told.append(
                f"{path}: contours lie up to {self.beside:.2g} slices beside those of the image; "
                "they are taken to the nearest."
            )
        return told


def open_structures(header: Header) -> Scan:
    """The regions of a structure set; they become labels only on the grid of an image."""
    path = header.path
    with readable(path, "DICOM"), quiet():
        regions, other = _regions(read_dataset(path), path)
    names = {region.value: region.name for region in regions if region.name}
    notes = (f"{path} holds {other} contours that are points or lines, left out.",) if other else ()

    def stored() -> Slabs:
        raise UserError(f"{path} holds contours, which become labels only on an image.")

    scan = Scan(
        Geometry.from_affine((1, 1, 1), np.eye(4)),
        np.dtype(np.uint8),
        SourceInfo("dicom", b"{}"),
        2,
        stored,
        notes=notes,
        names=names,
        colors={r.value: r.color for r in regions if r.color is not None},
    )

    def onto(image: Geometry) -> Scan:
        return _onto(scan, path, regions, names, image)

    return Scan(**{**vars(scan), "onto": onto})


def _onto(
    scan: Scan, path: Path, regions: list[_Region], names: dict[int, str], image: Geometry
) -> Scan:
    overlaps, left = Overlaps(), _Left()
    to_voxels = np.linalg.inv(image.lps_affine)

    def stored() -> Slabs:
        overlaps.begin()
        left.begin()
        require_memory(int(np.prod(image.file_shape)))
        labels = np.zeros(image.file_shape, np.uint8, order="F")
        for region in regions:
            for window, mask in _slices(region, to_voxels, image.file_shape, left):
                overlaps.put(labels[window], mask, region.value)
                left.found.add(region.value)
        if regions and not left.found:
            raise UserError(
                f"{path} does not lie on its image: none of its contours runs through one of the "
                "image's slices. Choose the series that it was drawn on."
            )
        yield 0, labels

    def later() -> tuple[str, ...]:
        empty = empty_notes(path, names, left.found)
        return (*left.notes(path), *overlaps.notes(path, names), *empty)

    return Scan(
        image,
        scan.dtype,
        scan.source,
        2,
        stored,
        notes=scan.notes,
        names=names,
        colors=scan.colors,
        found_later=later,
    )


def _slices(
    region: _Region, to_voxels: NDArray[Any], shape: tuple[int, int, int], left: _Left
) -> Any:
    """The pixels inside of a region, slice by slice: windows of the file's array and masks.

    Contours of one slice are combined by the even-odd rule, so that a contour within another one
    is a hole.
    """
    from skimage.draw import polygon2mask

    found: dict[tuple[int, int], list[NDArray[np.float64]]] = defaultdict(list)
    for points in region.contours:
        voxels = points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
        spread = np.ptp(voxels, axis=0)
        axis = int(np.argmin(spread))
        if spread[axis] > _FLAT_VOXELS:
            left.oblique += 1
            continue
        place = float(voxels[:, axis].mean())
        index = round(place)
        if not 0 <= index < shape[axis]:
            left.outside += 1
            continue
        left.beside = max(left.beside, abs(place - index))
        found[axis, index].append(np.delete(voxels, axis, axis=1))
    for (axis, index), polygons in found.items():
        plane = tuple(n for k, n in enumerate(shape) if k != axis)
        mask = np.zeros(plane, bool)
        for polygon in polygons:
            mask ^= polygon2mask(plane, polygon)  # type: ignore[no-untyped-call]
        window: list[slice | int] = [slice(None)] * 3
        window[axis] = index
        yield tuple(window), mask


def _regions(dataset: Dataset, path: Path) -> tuple[list[_Region], int]:
    """The regions in the order of their numbers, and how many contours are not closed."""
    listed = {int(one.ROINumber): one for one in dataset.get("StructureSetROISequence") or []}
    drawn = {int(one.ReferencedROINumber): one for one in dataset.get("ROIContourSequence") or []}
    numbers = sorted(listed)
    if not numbers:
        raise UserError(f"{path} is a structure set without a structure.")
    plain = numbers[0] >= 1 and numbers[-1] <= _MAX_LABEL
    if len(numbers) > _MAX_LABEL:
        raise UserError(f"{path} holds {len(numbers)} structures; a study has up to {_MAX_LABEL}.")
    regions, other = [], 0
    for place, number in enumerate(numbers, 1):
        contours = []
        items = drawn[number].get("ContourSequence") if number in drawn else None
        for item in items or []:
            points = np.array(item.get("ContourData") or [], dtype=np.float64)
            if item.get("ContourGeometricType") != _CLOSED or points.size < 9:
                other += 1
                continue
            contours.append(points[: points.size // 3 * 3].reshape(-1, 3))
        color = drawn[number].get("ROIDisplayColor") if number in drawn else None
        regions.append(
            _Region(
                number if plain else place,
                _name(listed[number]),
                _color(color),
                tuple(contours),
            )
        )
    return regions, other


def _name(region: Dataset) -> str:
    """The name of a region; files of this software keep one that is too long in its description."""
    mark = marked_class(str(region.get("ROIDescription") or ""))
    return (mark[1] if mark else "") or str(region.get("ROIName") or "").strip()


def _color(found: Any) -> tuple[int, int, int] | None:
    if found is None or len(found) != 3 or not all(0 <= int(part) <= 255 for part in found):
        return None
    return int(found[0]), int(found[1]), int(found[2])
