"""Labels and maps as DICOM segmentations that refer to the slices they belong to."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import generate_uid

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.anatomy import Segment, anatomy_of
from napari_mlbseg.formats.dicom.planes import quiet
from napari_mlbseg.formats.dicom_out.about import (
    SOFTWARE,
    UTF_8,
    About,
    dicom_name,
    whole_name,
)
from napari_mlbseg.formats.dicom_out.origin import Origin, planes_in_order
from napari_mlbseg.volume import Volume

_SERIES_NUMBER: Final = 900
_MAP: Final = "LABELMAP"
_LONGEST: Final = {"LO": 64, "ST": 1024}


def write_label_segmentation(path: Path, volume: Volume, origin: Origin, about: About) -> None:
    """A binary segmentation with one segment for each class, in order of the class values.

    Takes about four bytes of memory per voxel, and a few kB for each slice that a segment touches.
    """
    numbers = {segment.value: number for number, segment in enumerate(about.segments, 1)}
    _write(path, _numbered(path, volume, origin, numbers), "BINARY", origin, about)


def write_label_map(path: Path, volume: Volume, origin: Origin, about: About) -> None:
    """A label map: a frame for each slice that shows a class, with the class values as pixels.

    Readers from before 2024 do not know this kind of segmentation.
    """
    numbers = {segment.value: segment.value for segment in about.segments}
    _write(path, _numbered(path, volume, origin, numbers), _MAP, origin, about)


def _numbered(
    path: Path, volume: Volume, origin: Origin, numbers: Mapping[int, int]
) -> NDArray[np.uint8]:
    """The number of the segment of each voxel, or 0, in the order of the slices."""
    if not numbers:
        raise UserError(f"{path} cannot be written: a segmentation needs a class. Name one first.")
    table = np.zeros(256, np.uint8)
    for value, number in numbers.items():
        table[value] = number
    return np.asarray(table[planes_in_order(volume, origin, np.uint8)])


def write_map_segmentation(path: Path, volume: Volume, origin: Origin, about: About) -> None:
    """A fractional segmentation of one map: 255 stands for 1, or for the largest value above 1.

    Takes about ten bytes of memory per voxel. The segment's description says what 255 stands for;
    values are rounded to a 255th of that. Eight bits have no NaN: such voxels become 0, and the
    description says so.
    """
    values = planes_in_order(volume, origin, np.float32)
    unknown = bool(np.isnan(values).any())
    np.nan_to_num(values, copy=False)
    full = max(1.0, float(values.max()))
    np.divide(values, np.float32(full), out=values)
    np.clip(values, 0, 1, out=values)
    told = f"255 stands for {full:g}. {about.comment}"
    if unknown:
        told = f"0 also where nothing is known. {told}"
    _write(path, values, "FRACTIONAL", origin, replace(about, comment=told))


def _write(path: Path, pixels: NDArray[Any], kind: str, origin: Origin, about: About) -> None:
    from highdicom.seg import Segmentation

    with quiet():
        made = Segmentation(
            source_images=origin.datasets,
            pixel_array=pixels,
            segmentation_type=kind,
            segment_descriptions=[
                _described(segment.value if kind == _MAP else number, segment, origin, about)
                for number, segment in enumerate(about.segments, 1)
            ],
            series_instance_uid=generate_uid(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=SOFTWARE,
            manufacturer_model_name=SOFTWARE,
            software_versions=about.version,
            device_serial_number=about.model[:16] or "none",
            content_label="SEGMENTATION",
            content_description=_short(f"{about.title} {about.comment}", "LO"),
            content_creator_name=dicom_name(about.author),
            series_description=_short(f"{SOFTWARE} {about.title}", "LO"),
            fractional_type="PROBABILITY",
            plane_positions=_positions(origin),
        )
        made.SpecificCharacterSet = UTF_8
        made.save_as(path)


def _positions(origin: Origin) -> list[Any] | None:
    """The positions of frames of a multi-frame file; other frames lie where their slices do."""
    from highdicom import PlanePositionSequence

    if not origin.is_multiframe:
        return None
    return [PlanePositionSequence("PATIENT", plane.position) for plane in origin.planes]


def _described(number: int, segment: Segment, origin: Origin, about: About) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    anatomy = anatomy_of(segment.name)
    made = SegmentDescription(
        segment_number=number,
        segment_label=dicom_name(segment.name),
        segmented_property_category=anatomy.category,
        segmented_property_type=anatomy.kind,
        algorithm_type="AUTOMATIC" if about.automatic else "SEMIAUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=SOFTWARE,
            family=codes.DCM.ArtificialIntelligence,
            version=about.version,
            parameters={"model": about.model} if about.model else None,
        ),
        tracking_id=whole_name(segment),
        tracking_uid=generate_uid(
            entropy_srcs=[str(origin.first.SeriesInstanceUID), str(segment.value), segment.name]
        ),
        display_color=CIELabColor.from_rgb(*segment.color),
    )
    made.SegmentDescription = _short(f"{about.title}. {about.comment}", "ST")
    if anatomy.side is not None:
        side = Dataset()
        side.CodeValue = anatomy.side.value
        side.CodingSchemeDesignator = anatomy.side.scheme_designator
        side.CodeMeaning = anatomy.side.meaning
        made.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
    return made


def _short(text: str, kind: str) -> str:
    """A text shortened to fit an element, without backslashes, which would separate values."""
    return text.replace("\\", "/").strip()[: _LONGEST[kind]].strip()
