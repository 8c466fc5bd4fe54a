"""The original series of a case, as far as an export must repeat it.

The patient and the study are read from the original files only during an export as DICOM: the
standard requires them there, and a study on disk does not keep them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import generate_uid

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.dicom.planes import Header, Plane, planes_of, quiet, read_header
from napari_mlbseg.formats.dicom.reading import read_dataset
from napari_mlbseg.formats.scan import readable
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.formats.streamed.stream import file_slabs
from napari_mlbseg.volume import Volume

_MAY_BE_EMPTY: Final = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class Origin:
    """The original slices, in the order of the case's last file axis.

    Attributes
    ----------
    datasets
        A header for each slice, or the single header of a multi-frame file; the first is complete.
    planes
        Position and number of frame of each slice.
    """

    datasets: tuple[Dataset, ...]
    planes: tuple[Plane, ...]

    @property
    def first(self) -> Dataset:
        """The header from which patient and study are repeated."""
        return self.datasets[0]

    @property
    def is_multiframe(self) -> bool:
        """Whether all slices are frames of one file."""
        return "PerFrameFunctionalGroupsSequence" in self.first


def origin_of(path: Path, source: SourceInfo) -> Origin:
    """Read the headers of the original slices.

    Raises
    ------
    UserError
        If the case did not come as DICOM, or if its files are missing or were replaced.
    """
    if source.format != "dicom":
        raise UserError(
            f"{path} is not a DICOM series, and only cases from DICOM can be exported as DICOM: "
            "viewers cannot show a file that refers to no series. Choose another format."
        )
    slices = [tuple(found) for found in json.loads(source.header)["slices"]]
    folder = path if path.is_dir() else path.parent
    headers = {name: _header(folder / name, uid) for name, uid, _ in slices}
    if len(headers) not in (1, len(slices)):
        raise UserError(
            f"{path} is spread over several multi-frame files, to which a segmentation cannot "
            "refer. Choose another format."
        )
    with readable(path, "DICOM"), quiet():
        by_frame = {(n, p.frame): p for n, header in headers.items() for p in planes_of(header)}
        planes = tuple(by_frame[name, frame] for name, _, frame in slices)
        whole = read_dataset(planes[0].path, stop_before_pixels=True)
    found = list(headers.values())
    datasets = (whole, *(header.dataset for header in found[1:]))
    for dataset, header in zip(datasets, found, strict=True):
        _complete(dataset, header, found[0])
    return Origin(datasets, planes)


def planes_in_order(volume: Volume, origin: Origin, dtype: type) -> NDArray[Any]:
    """A volume as an array slice, row, column, in the order of the origin's planes."""
    columns, rows, count = volume.geometry.file_shape
    if count != len(origin.planes):
        raise ValueError(f"{count} slices cannot lie on {len(origin.planes)}")
    stacked: NDArray[Any] = np.empty((count, rows, columns), dtype)
    for start, slab in file_slabs(volume, np.dtype(dtype), axis=2):
        stacked[start : start + slab.shape[2]] = slab.transpose(2, 1, 0)
    return stacked


def _header(path: Path, instance: str) -> Header:
    try:
        header = read_header(path)
    except UserError as error:
        raise UserError(
            f"{error} An export as DICOM repeats patient and study of the original series and "
            "needs its files; put them back, or choose another format."
        ) from error
    if header.instance != instance:
        raise UserError(
            f"{path} is no longer the slice that was imported. Put the original series back, or "
            "choose another format."
        )
    return header


def _complete(dataset: Dataset, header: Header, first: Header) -> None:
    """Fill in elements that the standard requires and anonymised files lack.

    Missing UIDs are derived from those that exist, so that all exports agree.
    """
    for name in _MAY_BE_EMPTY:
        if name not in dataset:
            setattr(dataset, name, "")
    for name in _UIDS:
        if not dataset.get(name):
            seed = str(dataset.get("FrameOfReferenceUID") or first.instance)
            setattr(dataset, name, generate_uid(entropy_srcs=[name, seed]))
    dataset.SOPClassUID = header.sop_class
    dataset.SOPInstanceUID = header.instance or generate_uid()
    if "ImageOrientationPatient" in dataset:  # positions may differ by rounding
        dataset.ImageOrientationPatient = first.dataset.ImageOrientationPatient
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if groups:
        shared = dataset.SharedFunctionalGroupsSequence[0]
        for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            if name not in shared and name in groups[0]:
                setattr(shared, name, groups[0][name].value)
