"""Labels as an RT structure set: closed contours in the planes of the original slices."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import Dataset
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.anatomy import Segment, anatomy_of
from napari_mlbseg.formats.dicom.planes import Plane, quiet
from napari_mlbseg.formats.dicom_out.about import (
    SOFTWARE,
    UTF_8,
    About,
    dicom_name,
    whole_name,
)
from napari_mlbseg.formats.dicom_out.contours import Polygon, polygons_of
from napari_mlbseg.formats.dicom_out.origin import Origin
from napari_mlbseg.formats.streamed.stream import file_slabs
from napari_mlbseg.volume import Volume

_SERIES_NUMBER: Final = 901
_LONGEST_TEXT: Final = 1024
_REPEATED: Final = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
)


def write_rtstruct(path: Path, volume: Volume, origin: Origin, about: About) -> None:
    """A structure set with one region for each class that the labels hold.

    Slices are read one by one; only contours are kept in memory.
    """
    if not about.segments:
        raise UserError(f"{path} cannot be written: a region needs a class. Name one first.")
    contours: dict[int, list[Dataset]] = {segment.value: [] for segment in about.segments}
    for plane, labels in _slices(volume, origin):
        for value in np.unique(labels):
            if value in contours:
                for polygon in polygons_of(labels == value):
                    contours[value].append(_contour(polygon, plane, origin))
    with quiet():
        _structure_set(origin, about, contours).save_as(path, enforce_file_format=True)


def _slices(volume: Volume, origin: Origin) -> Iterator[tuple[Plane, Any]]:
    """Each original slice with its labels (row, column)."""
    for start, slab in file_slabs(volume, np.dtype(np.uint8), axis=2):
        for k in range(slab.shape[2]):
            yield origin.planes[start + k], slab[:, :, k].T


def _contour(polygon: Polygon, plane: Plane, origin: Origin) -> Dataset:
    along_row, along_column = np.reshape(plane.orientation, (2, 3))
    steps = np.stack([along_column * plane.spacing[0], along_row * plane.spacing[1]])
    points = np.asarray(plane.position) + polygon @ steps
    made = _dataset(
        ContourImageSequence=[_reference(plane, origin)],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
    )
    text = "\\".join(f"{v:.10g}" for v in points.ravel().tolist()).encode()
    text += b" " * (len(text) % 2)
    # Bytes are written as they are. For a list, pydicom would make an object of each number,
    # which takes a hundred times the time and the memory.
    made.set_original_encoding(True, True, default_encoding)
    tag = Tag("ContourData")
    made[tag] = RawDataElement(tag, "DS", len(text), text, 0, True, True)
    return made


def _reference(plane: Plane, origin: Origin) -> Dataset:
    made = _dataset(
        ReferencedSOPClassUID=origin.first.SOPClassUID, ReferencedSOPInstanceUID=plane.instance
    )
    if origin.is_multiframe:
        made.ReferencedFrameNumber = plane.frame + 1
    return made


def _structure_set(origin: Origin, about: About, contours: dict[int, list[Dataset]]) -> Dataset:
    made = _general(origin, about)
    present = [segment for segment in about.segments if contours[segment.value]]
    frame_uid = origin.first.FrameOfReferenceUID
    made.ReferencedFrameOfReferenceSequence = [_referenced_frame(origin)]
    made.StructureSetROISequence = [
        _dataset(
            ROINumber=segment.value,
            ReferencedFrameOfReferenceUID=frame_uid,
            ROIName=dicom_name(segment.name),
            ROIDescription=whole_name(segment)[:_LONGEST_TEXT],
            ROIGenerationAlgorithm="AUTOMATIC" if about.automatic else "SEMIAUTOMATIC",
            ROIGenerationDescription=f"{SOFTWARE} {about.version}"[:64],
        )
        for segment in present
    ]
    made.ROIContourSequence = [
        _dataset(
            ROIDisplayColor=list(segment.color),
            ContourSequence=contours[segment.value],
            ReferencedROINumber=segment.value,
        )
        for segment in present
    ]
    made.RTROIObservationsSequence = [_observation(segment, about) for segment in present]
    return made


def _observation(segment: Segment, about: About) -> Dataset:
    kind = anatomy_of(segment.name).kind
    code = _dataset(
        CodeValue=kind.value,
        CodingSchemeDesignator=kind.scheme_designator,
        CodeMeaning=kind.meaning,
    )
    return _dataset(
        ObservationNumber=segment.value,
        ReferencedROINumber=segment.value,
        RTROIIdentificationCodeSequence=[code],
        RTROIInterpretedType="",
        ROIInterpreter=dicom_name(about.author),
    )


def _general(origin: Origin, about: About) -> Dataset:
    """Patient, study, series, equipment and approval."""
    now = datetime.now()
    made = _dataset(
        **{name: origin.first[name].value for name in _REPEATED if name in origin.first},
        SpecificCharacterSet=UTF_8,
        SOPClassUID=RTStructureSetStorage,
        SOPInstanceUID=generate_uid(),
        Modality="RTSTRUCT",
        SeriesInstanceUID=generate_uid(),
        SeriesNumber=_SERIES_NUMBER,
        SeriesDescription=f"{SOFTWARE} {about.title}"[:64],
        OperatorsName=dicom_name(about.author),
        Manufacturer=SOFTWARE,
        ManufacturerModelName=SOFTWARE,
        DeviceSerialNumber=about.model[:16] or "none",
        SoftwareVersions=about.version,
        FrameOfReferenceUID=origin.first.FrameOfReferenceUID,
        PositionReferenceIndicator="",
        InstanceNumber=1,
        StructureSetLabel=about.title[:16],
        StructureSetDescription=about.comment[:1024],
        StructureSetDate=now.strftime("%Y%m%d"),
        StructureSetTime=now.strftime("%H%M%S"),
        ApprovalStatus="UNAPPROVED",
    )
    made.file_meta = FileMetaDataset()
    # Explicit lengths end at 64 kB, which a long contour exceeds.
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return made


def _referenced_frame(origin: Origin) -> Dataset:
    # A multi-frame file is listed once; the contours name its frames.
    listed: Iterable[Plane] = origin.planes[:1] if origin.is_multiframe else origin.planes
    series = _dataset(
        SeriesInstanceUID=origin.first.SeriesInstanceUID,
        ContourImageSequence=[
            _dataset(
                ReferencedSOPClassUID=origin.first.SOPClassUID,
                ReferencedSOPInstanceUID=plane.instance,
            )
            for plane in listed
        ],
    )
    study = _dataset(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=origin.first.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _dataset(
        FrameOfReferenceUID=origin.first.FrameOfReferenceUID, RTReferencedStudySequence=[study]
    )


def _dataset(**elements: Any) -> Dataset:
    made = Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return made
