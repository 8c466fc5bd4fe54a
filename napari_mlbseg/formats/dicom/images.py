"""DICOM images: a folder with the slices of a series, or a file with one or several."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.dicom.pixels import decoded_frames
from napari_mlbseg.formats.dicom.planes import (
    SEGMENTATIONS,
    STRUCTURES,
    Header,
    Plane,
    headers_in,
    quiet,
    read_header,
)
from napari_mlbseg.formats.dicom.segmentation import open_segmentation
from napari_mlbseg.formats.dicom.sniff import beside_dicom
from napari_mlbseg.formats.dicom.stack import (
    Series,
    Sorted,
    Stack,
    series_of,
    sorted_into_series,
    stack_of,
)
from napari_mlbseg.formats.dicom.structures import open_structures
from napari_mlbseg.formats.dicom.windows import windows_in
from napari_mlbseg.formats.masks import Part, numbered_together, together
from napari_mlbseg.formats.scan import (
    Scan,
    Slabs,
    finite_only,
    readable,
    require_size,
    usable_geometry,
    whole_numbers,
)
from napari_mlbseg.formats.source import Choice, SourceInfo
from napari_mlbseg.volume import Geometry

_NAMES_SHOWN: Final = 12
LARGEST: Final = "largest"
"""Chosen as the series: the one with the most slices."""


class DicomFormat:
    """Reads series of CT, MR and similar modalities, and segmentations as labels."""

    name: str = "dicom"

    def open_image(self, path: Path, choice: Choice) -> Scan:
        """An image in the units of its modality, such as Hounsfield units.

        The array's axes are columns, rows, slices. Integers stay integers if slope and
        intercept are integers and equal in all slices.

        Raises
        ------
        UserError
            If a file is damaged, slices are missing or unevenly spaced, or if there are several
            series or frames and none was chosen.
        """
        headers = headers_in(path)
        images = [header for header in headers if header.is_image]
        if not images:
            what = headers[0].kind
            raise UserError(f"{path} holds {what}; choose a series of images.")
        with readable(path, "DICOM"):
            found = sorted_into_series(headers)
            series = _chosen(path, found.series, choice)
            stack = stack_of(path, series, choice)
            scan = _scan(path, series, stack)
        several = series.name if len(found.series) > 1 else None
        chosen = SourceInfo(self.name, scan.source.header, Choice(stack.frame, several))
        notes = (*scan.notes, *_left_out(path, found, series))
        return finite_only(path, replace(scan, source=chosen, notes=notes))

    def open_labels(self, path: Path, choice: Choice) -> Scan:
        """DICOM segmentations and structure sets, or a series whose voxels are labels.

        Several of them, such as one for each organ, are put together: one name is one label.
        """
        found = [header for header in headers_in(path) if _holds_labels(header)]
        if not found:
            return whole_numbers(path, self.open_image(path, choice))
        return _opened(path, found)


def open_label_files(folder: Path, files: Sequence[Path]) -> Scan:
    """Segmentations and structure sets of one image in one folder, put together."""
    headers = [read_header(file) for file in files]
    for header in headers:
        if not _holds_labels(header):
            raise UserError(f"{header.path} holds {header.kind} instead of labels. Leave it out.")
    return _opened(folder, headers)


def _opened(path: Path, found: Sequence[Header]) -> Scan:
    scans = [
        open_structures(header)
        if header.sop_class == STRUCTURES
        else open_segmentation(header.path)
        for header in found
    ]
    if len(scans) == 1:
        return scans[0]
    return _together(path, [header.path for header in found], scans)


def series_in(path: Path) -> list[Series]:
    """The series of images in a folder, for the user to choose from."""
    return series_of(headers_in(path))


def contents_of(path: Path) -> tuple[bool, bool]:
    """Whether a file or folder holds slices of images, and whether it holds labels."""
    headers = headers_in(path)
    return any(header.is_image for header in headers), any(map(_holds_labels, headers))


def _holds_labels(header: Header) -> bool:
    return header.sop_class in SEGMENTATIONS or header.sop_class == STRUCTURES


def _together(path: Path, files: Sequence[Path], scans: Sequence[Scan]) -> Scan:
    """Several segmentations of one image; they come together on its grid."""
    numbers = numbered_together([scan.names for scan in scans])
    pairs = list(zip(files, scans, numbers, strict=True))
    names = {new[v]: name for _, scan, new in pairs for v, name in scan.names.items()}

    def stored() -> Slabs:
        raise UserError(
            f"{path} holds several segmentations, which come together only on an image. Choose "
            "one file."
        )

    def onto(image: Geometry) -> Scan:
        parts = [
            Part(file, scan.onto(image), values=new)
            for file, scan, new in pairs
            if scan.onto is not None
        ]
        return together(path, parts, names)

    notes = tuple(note for scan in scans for note in scan.notes)
    return replace(scans[0], stored=stored, onto=onto, names=names, colors={}, notes=notes)


def _chosen(path: Path, found: Sequence[Series], choice: Choice) -> Series:
    if len(found) == 1:
        return found[0]
    if choice.series == LARGEST:
        return max(found, key=lambda series: len(series.planes))
    for series in found:
        if series.name == choice.series:
            return series
    names = "; ".join(str(series) for series in found[:_NAMES_SHOWN])
    more = f" and {len(found) - _NAMES_SHOWN} more" if len(found) > _NAMES_SHOWN else ""
    raise UserError(
        f"{path} holds {len(found)} series: {names}{more}. Choose one by its name (on the command "
        f"line with --series NAME, --series {LARGEST} or --series all)."
    )


def _left_out(path: Path, found: Sorted, taken: Series) -> Iterator[str]:
    """What else lies in a folder, in words."""
    others = [str(series) for series in found.series if series is not taken]
    if others:
        yield f"{path}: {taken.name} is taken; left out are {'; '.join(others)}."
    strangers = [f"{header.path.name}: {what}" for header, what in found.strangers]
    # Segmentations and contours are labels of the series, if labels are asked for here.
    if strangers:
        yield f"{path} holds {len(strangers)} DICOM files that are not taken as images: " + (
            f"{_shown(strangers)}."
        )
    beside = [file.name for file in beside_dicom(path)] if path.is_dir() else []
    if beside:
        yield f"{path} holds {len(beside)} files that are not DICOM and are left out: " + (
            f"{_shown(beside)}."
        )


def _shown(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _scan(path: Path, series: Series, stack: Stack) -> Scan:
    first = stack.planes[0]
    shape = (first.columns, first.rows, len(stack.planes))
    held = sum(file.stat().st_size for file in {plane.path for plane in stack.planes})
    require_size(path, shape, 2, held)
    dtype = _dtype(stack.planes)

    def stored() -> Slabs:
        for k, slice_ in enumerate(_slices(stack.planes, dtype)):
            yield k, slice_.T[:, :, None]

    return Scan(
        geometry=usable_geometry(path, shape, stack.affine),
        dtype=dtype,
        source=SourceInfo(DicomFormat.name, _header(series, stack)),
        axis=2,
        stored=stored,
        notes=stack.notes,
    )


def _header(series: Series, stack: Stack) -> bytes:
    """What an export needs to refer to the slices; nothing about the patient."""
    dataset = series.headers[0].dataset
    known: dict[str, Any] = {
        "study_uid": str(dataset.get("StudyInstanceUID") or ""),
        "series_uid": series.headers[0].series,
        "frame_of_reference_uid": str(dataset.get("FrameOfReferenceUID") or ""),
        "sop_class_uid": series.headers[0].sop_class,
        "modality": series.modality,
        "slices": [[plane.path.name, plane.instance, plane.frame] for plane in stack.planes],
    }
    padding = _padding(dataset, stack.planes)
    if padding is not None:
        known["padding"] = padding
    windows = windows_in(series.headers[len(series.headers) // 2])
    if windows:
        known["windows"] = windows
    return json.dumps(known).encode()


def _padding(dataset: Dataset, planes: Sequence[Plane]) -> list[float] | None:
    """The range of intensities that stand for no tissue, where one is true of all slices."""
    with quiet():
        ends = [dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")]
    stored = [float(end) for end in ends if isinstance(end, int)]
    scales = {(plane.slope, plane.inter) for plane in planes}
    if not stored or len(scales) > 1 or ends[0] is None:
        return None
    ((slope, inter),) = scales
    found = [slope * end + inter for end in stored]
    return [min(found), max(found)]


def _dtype(planes: Sequence[Plane]) -> np.dtype[Any]:
    """The smallest type that holds the rescaled intensities of all slices exactly."""
    scales = {(plane.slope, plane.inter) for plane in planes}
    ((slope, inter),) = scales if len(scales) == 1 else ((0.5, 0.0),)
    if slope != 1.0 or inter != round(inter) or abs(inter) > 2**24:
        return np.dtype(np.float32)
    bits = max(plane.bits for plane in planes)
    signed = any(plane.signed for plane in planes)
    low = (-(1 << (bits - 1)) if signed else 0) + int(inter)
    high = (1 << (bits - signed)) - 1 + int(inter)
    for dtype in (np.uint8, np.int16, np.uint16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    return np.dtype(np.float32)


def _slices(planes: Sequence[Plane], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """The slices (rows, columns) in order, decoded and rescaled one by one."""
    for path, group in groupby(planes, key=lambda plane: plane.path):
        frames = list(group)
        with readable(path, "DICOM"), quiet():
            pixels = decoded_frames(path, [plane.frame for plane in frames])
        for plane in frames:
            with readable(path, "DICOM"), quiet():
                slice_ = _rescaled(plane, np.asarray(next(pixels)), dtype)
            yield slice_


def _rescaled(plane: Plane, decoded: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if decoded.shape != (plane.rows, plane.columns):
        raise UserError(
            f"{plane.path} is damaged: its slice has the shape {decoded.shape} instead of "
            f"{(plane.rows, plane.columns)}. Copy the file again."
        )
    if dtype.kind == "f":
        return (decoded.astype(np.float64) * plane.slope + plane.inter).astype(dtype)
    shift = int(plane.inter)
    low, high = int(decoded.min()) + shift, int(decoded.max()) + shift
    if low < np.iinfo(dtype).min or high > np.iinfo(dtype).max:
        raise UserError(
            f"{plane.path} is damaged: it announces {plane.bits} bits, but holds larger numbers."
        )
    return (decoded.astype(np.int64) + shift).astype(dtype) if shift else decoded.astype(dtype)


FORMAT: Final = DicomFormat()
