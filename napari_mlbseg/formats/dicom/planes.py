"""DICOM headers, reduced to the position and scaling of each slice; no data about the patient."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.dicom.deflated import require_bounded
from napari_mlbseg.formats.dicom.reading import read_dataset
from napari_mlbseg.formats.dicom.sniff import SUFFIXES, is_dicom
from napari_mlbseg.formats.scan import readable
from napari_mlbseg.volume import LPS_TO_RAS

SEGMENTATIONS: Final = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}
STRUCTURES: Final = "1.2.840.10008.5.1.4.1.1.481.3"

_TAGS: Final = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesNumber",
    "InstanceNumber",
    "SeriesDescription",
    "PatientName",
    "PatientID",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContentTime",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "DiffusionBValue",
    "EchoNumbers",
    "EchoTime",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
_SORTED_BY: Final = ("SeriesInstanceUID", "Rows")
PHASES: Final = {
    "TemporalPositionIdentifier": "temporal position",
    "TemporalPositionIndex": "temporal position",
    "TriggerTime": "trigger time (ms)",
    "NominalCardiacTriggerDelayTime": "trigger delay (ms)",
    "DiffusionBValue": "b-value (s/mm²)",
    "EchoTime": "echo time (ms)",
    "EffectiveEchoTime": "echo time (ms)",
    "EchoNumbers": "echo",
    "AcquisitionNumber": "acquisition",
    "AcquisitionTime": "acquisition time",
    "ContentTime": "content time",
}
"""Elements that may tell the phases of a series apart, the plainest first, and their names."""
_LONGEST: Final = 64
_RIGHT_ANGLE: Final = 1e-3


@dataclass(frozen=True)
class Plane:
    """One slice: a file or one of its frames.

    Attributes
    ----------
    position, orientation
        As in DICOM: mm in the patient's LPS frame, and the directions of rows and columns.
    spacing
        Between rows and between columns, in mm.
    thickness
        Distance to the next slice in mm, if this header records it; otherwise 0.
    slope, inter
        Intensities are ``slope * stored + inter``.
    bits, signed
        Of the stored numbers.
    order
        Sorts the slices at one position.
    phase
        What tells the phases of a series apart, by the names of the elements: times, echoes and
        the like, as far as the header has them.
    """

    path: Path
    frame: int
    instance: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    thickness: float
    rows: int
    columns: int
    slope: float
    inter: float
    bits: int
    signed: bool
    order: tuple[float, ...]
    phase: Mapping[str, float]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Direction across the slice: towards the head for an upright axial slice."""
        along_row, along_column = np.reshape(self.orientation, (2, 3))
        return np.cross(along_row, along_column)

    def affine(self, step: NDArray[Any]) -> NDArray[np.float64]:
        """From column, row and slice to RAS mm; `step` leads to the next slice, in LPS mm."""
        along_row, along_column = np.reshape(self.orientation, (2, 3))
        lps = np.eye(4)
        lps[:3, 0] = along_row * self.spacing[1]
        lps[:3, 1] = along_column * self.spacing[0]
        lps[:3, 2] = step
        lps[:3, 3] = self.position
        return np.asarray(LPS_TO_RAS @ lps)

    @property
    def depth(self) -> float:
        """Position along the normal in mm."""
        return float(self.normal @ np.asarray(self.position))


@dataclass(frozen=True)
class Header:
    """A file's header, and what distinguishes its series from others."""

    path: Path
    dataset: Dataset
    sop_class: str
    instance: str

    @property
    def series(self) -> str:
        """UID of the series; empty in some anonymised files."""
        return str(self.dataset.get("SeriesInstanceUID") or "")

    @property
    def description(self) -> str:
        """What the scanner calls the series, without words that name the patient."""
        return self.without_names(self._told("SeriesDescription"))

    def without_names(self, said: str) -> str:
        """Free text of a scanner, without words that name the patient."""
        private = f"{self._told('PatientName')} {self._told('PatientID')}"
        names = set(re.findall(r"\w+", private.casefold().replace("_", " ")))
        words = re.split(r"(\W|_)+", said)
        return " ".join(w for w in words if w.strip("_ ") and w.casefold() not in names)[:_LONGEST]

    @property
    def modality(self) -> str:
        """What made the image, such as CT."""
        return self._told("Modality")

    @property
    def kind(self) -> str:
        """What a file that is no image is, for a person."""
        known = {**dict.fromkeys(SEGMENTATIONS, "a segmentation"), STRUCTURES: "a structure set"}
        return known.get(self.sop_class, f"no image ({self.modality or 'unknown'})")

    @property
    def is_image(self) -> bool:
        """Whether the file holds an image and not a segmentation."""
        return self.sop_class not in SEGMENTATIONS and bool(self.dataset.get("Rows"))

    def _told(self, name: str) -> str:
        """An element that is only shown to people; empty if it is missing or damaged."""
        try:
            return str(self.dataset.get(name) or "")
        except Exception:  # it is decoded now, and whatever it holds, pydicom may raise anything
            return ""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings: real files break the standard in harmless ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def headers_in(path: Path) -> list[Header]:
    """The headers of a file, or of all DICOM files directly in a folder.

    Raises
    ------
    UserError
        If a file that claims to be DICOM cannot be read: a slice would be missing.
    """
    if not path.is_dir():
        return [read_header(path)]
    try:
        files = sorted(f for f in path.iterdir() if f.is_file() and not f.name.startswith("."))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    found = [read_header(f) for f in files if f.suffix.lower() in SUFFIXES or _claims(f)]
    if not found:
        raise UserError(f"The folder {path} holds no DICOM files.")
    return found


def read_header(path: Path) -> Header:
    """The header of one file; raises UserError that names it."""
    with readable(path, "DICOM"), quiet():
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes). Copy the file again.")
        if not is_dicom(path):
            raise UserError(f"{path} is not a DICOM file: it does not start like one.")
        require_bounded(path)
        dataset = read_dataset(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        meta = dataset.file_meta
        # Some anonymisers empty the elements but leave the file header alone.
        sop_class = dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or ""
        instance = dataset.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID") or ""
        if not sop_class and "Rows" not in dataset:
            raise UserError(f"{path} is not a valid DICOM file: it has no image and no class.")
        _ = [dataset.get(name) for name in _SORTED_BY]  # decoded here, where damage is told
        return Header(path, dataset, str(UID(str(sop_class))), str(instance))


def planes_of(header: Header) -> list[Plane]:
    """The slices of a file."""
    with readable(header.path, "DICOM"), quiet():
        dataset = header.dataset
        _require_grey(header)
        frames = int(dataset.get("NumberOfFrames") or 1)
        groups = dataset.get("PerFrameFunctionalGroupsSequence")
        if groups is None:
            if frames > 1:
                raise UserError(
                    f"{header.path} holds {frames} frames without positions; a study takes slices "
                    "whose positions are known."
                )
            return [_plane(header, 0, [dataset])]
        if len(groups) != frames:
            raise UserError(
                f"{header.path} has a damaged header: {frames} frames, but {len(groups)} of their "
                "descriptions."
            )
        shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])
        return [_plane(header, k, _levels(group, shared)) for k, group in enumerate(groups)]


def levels_of(header: Header, frame: int) -> list[Dataset]:
    """The places of the elements of a frame; of a file without frames, the file itself."""
    dataset = header.dataset
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if groups is None or frame >= len(groups):
        return [dataset]
    return _levels(groups[frame], list(dataset.get("SharedFunctionalGroupsSequence") or []))


def _levels(group: Dataset, shared: list[Dataset]) -> list[Dataset]:
    """The places of a frame's elements: its own groups first, then the shared ones."""
    return [item for level in (group, *shared) for item in _items(level)]


def _items(level: Dataset) -> Iterator[Dataset]:
    for element in level:
        if element.VR == "SQ" and len(element.value or []) > 0:
            yield element.value[0]


def _plane(header: Header, frame: int, levels: list[Dataset]) -> Plane:
    dataset = header.dataset
    spacing = _numbers(header, levels, "PixelSpacing", 2)
    orientation = _numbers(header, levels, "ImageOrientationPatient", 6)
    along_row, along_column = np.reshape(orientation, (2, 3))
    lengths = np.linalg.norm([along_row, along_column], axis=1)
    if np.abs(lengths - 1).max() > _RIGHT_ANGLE or abs(along_row @ along_column) > _RIGHT_ANGLE:
        raise UserError(
            f"{header.path} has no usable geometry: its orientation is {list(orientation)}."
        )
    order = ("AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers", "InstanceNumber")
    return Plane(
        path=header.path,
        frame=frame,
        instance=header.instance,
        position=_numbers(header, levels, "ImagePositionPatient", 3),
        orientation=orientation,
        spacing=(spacing[0], spacing[1]),
        thickness=_number(levels, "SpacingBetweenSlices", _number(levels, "SliceThickness", 0.0)),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        slope=_number(levels, "RescaleSlope", 1.0),
        inter=_number(levels, "RescaleIntercept", 0.0),
        bits=int(dataset.get("BitsStored") or dataset.get("BitsAllocated") or 16),
        signed=bool(dataset.get("PixelRepresentation") or 0),
        order=(*(_number([dataset], name, 0.0) for name in order), float(frame)),
        phase={
            name: number
            for name in PHASES
            if np.isfinite(number := _number(levels, name, float("nan")))
        },
    )


def _numbers(header: Header, levels: list[Dataset], name: str, count: int) -> tuple[float, ...]:
    values = next((level.get(name) for level in levels if level.get(name) is not None), None)
    if values is None or len(values) != count:
        raise UserError(
            f"{header.path} has no {name}, so the position of its voxels is unknown. Export the "
            "series again with its geometry."
        )
    numbers = tuple(float(value) for value in values)
    if not np.isfinite(numbers).all():
        raise UserError(f"{header.path} has no usable geometry: {name} is {list(numbers)}.")
    return numbers


def _number(levels: list[Dataset], name: str, default: float) -> float:
    for level in levels:
        value: Any = level.get(name)
        if value is not None and value != "":
            if hasattr(value, "__len__") and not isinstance(value, str):
                value = value[0] if len(value) else default
            number = float(value)  # times are text made of digits
            return number if np.isfinite(number) else default
    return default


def _require_grey(header: Header) -> None:
    dataset = header.dataset
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        kind = dataset.get("PhotometricInterpretation", "colour")
        raise UserError(f"{header.path} holds {kind} images; a study takes grey values only.")
    if dataset.get("ModalityLUTSequence"):
        raise UserError(
            f"{header.path} maps its intensities with a table, which is not supported. Export the "
            "series with rescale slope and intercept."
        )


def _claims(path: Path) -> bool:
    """Whether a file is named like a slice; an empty file among slices is a lost slice."""
    return is_dicom(path) or (not path.suffix and path.stat().st_size == 0)
