"""Writes one file of an export, and describes it where the format is DICOM."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from napari_mlbseg.formats.anatomy import Segment
from napari_mlbseg.formats.dicom_out.about import About
from napari_mlbseg.formats.placing import explained
from napari_mlbseg.formats.plain import LABEL, MAP
from napari_mlbseg.formats.registry import write_plainly, write_segmentation, written_along
from napari_mlbseg.project.exporting.chosen import Chosen, Renumbered
from napari_mlbseg.project.exporting.kinds import DICOM, ExportKind, OutFormat
from napari_mlbseg.project.exporting.outputs import Target
from napari_mlbseg.project.exporting.provenance import (
    NOBODY,
    Maker,
    in_words,
    is_predicted,
    software_version,
)
from napari_mlbseg.project.exporting.voxels import Banded, Finite, Windowed
from napari_mlbseg.project.folder.lock import current_user
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Volume

_MAP_COLOR = (0, 158, 115)
_BY_PERSONS: Final = (ExportKind.LABELS, ExportKind.ACCEPTED)
SAYS_NOTHING: Final = "Slices without any class may not have been looked at."
"""Of segmentations of some slices, which cannot tell background from what was left out."""


@dataclass(frozen=True)
class CaseFile:
    """A file to write for a case, and the model that may have predicted it."""

    study: Study
    case: Case
    kind: ExportKind
    target: Target
    maker: Maker
    chosen: Chosen | None = None


def write_case_file(file: CaseFile, voxels: Windowed, place: Path) -> None:
    """Write the file at `place`, from where it is moved once complete.

    Raises
    ------
    UserError
        If it cannot be written; `NotFiniteError` if a voxel is not finite.
    """
    case, target = file.case, file.target
    dicom = target.form in DICOM
    along = (
        case.geometry.display_axis(2)
        if dicom
        else written_along(target.path, case.geometry, case.source)
    )
    if target.form is OutFormat.SEG_NRRD:
        voxels = Renumbered(voxels, {c.value: c.value for c in file.study.classes})
    banded = Banded(Finite(voxels, f"{file.kind.value} of {case.name}"), along)
    volume = Volume(cast(Any, banded), case.geometry)
    with explained(target.path):
        if dicom:
            _write_dicom(file, volume, place)
        elif target.form is OutFormat.SEG_NRRD:
            write_segmentation(place, volume, case.source, segments_of(file.study))
        else:
            write_plainly(place, volume, case.source, MAP if voxels.dtype.kind == "f" else LABEL)


def _write_dicom(file: CaseFile, volume: Volume, place: Path) -> None:
    # Imported here, so that other formats do not wait for highdicom.
    from napari_mlbseg.formats.dicom_out.origin import origin_of
    from napari_mlbseg.formats.dicom_out.rtstruct import write_rtstruct
    from napari_mlbseg.formats.dicom_out.segmentation import (
        write_label_map,
        write_label_segmentation,
        write_map_segmentation,
    )

    origin = origin_of(file.case.image_path, file.case.source)
    about = _about(file)
    if file.target.form is OutFormat.RTSTRUCT:
        write = write_rtstruct
    elif file.target.form is OutFormat.DICOM_LABELMAP:
        write = write_label_map
    elif volume.dtype.kind == "f":
        write = write_map_segmentation
        about = _of_map(about, file.target)
    else:
        write = write_label_segmentation
    write(place, volume, origin, about)


def _about(file: CaseFile) -> About:
    study, case, kind, array = file.study, file.case, file.kind, file.target.array
    maker = file.maker if is_predicted(study, case, kind) else NOBODY
    return About(
        title=kind.value if array is None else array.value.replace("_", " "),
        segments=tuple(sorted(segments_of(study), key=lambda one: one.value)),
        automatic=kind not in _BY_PERSONS,
        author=current_user(),
        version=software_version(),
        model=maker.checkpoint_sha256,
        comment=_comment(file),
    )


def _comment(file: CaseFile) -> str:
    said = in_words(file.study, file.case) if file.kind in _BY_PERSONS else ""
    if file.chosen is not None or file.kind is ExportKind.ACCEPTED:
        return f"{SAYS_NOTHING} {said}".strip()
    return said


def segments_of(study: Study) -> tuple[Segment, ...]:
    """The classes of a study, for files that list them."""
    return tuple(Segment(c.value, c.name, c.color) for c in study.classes)


def _of_map(about: About, target: Target) -> About:
    """The single segment of a map: its class, or its quantity."""
    label = target.label
    if label is None:
        return replace(about, segments=(Segment(1, about.title, _MAP_COLOR),))
    return replace(about, segments=(Segment(label.value, label.name, label.color),))
