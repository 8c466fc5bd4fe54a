"""One file of an export: which writer gets it, and what a DICOM file says about itself."""

from dataclasses import dataclass, replace
from typing import Any, cast

from napari_mlbseg.formats.about import About, Segment
from napari_mlbseg.formats.registry import replacing, write_labels, write_map, written_along
from napari_mlbseg.project.cases import Case
from napari_mlbseg.project.kinds import ExportKind, OutFormat
from napari_mlbseg.project.lock import current_user
from napari_mlbseg.project.outputs import Target
from napari_mlbseg.project.provenance import (
    NOBODY,
    Maker,
    in_words,
    is_predicted,
    software_version,
    write_provenance,
)
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.voxels import Banded, Windowed
from napari_mlbseg.volume import Volume

_MAP_COLOR = (0, 158, 115)


@dataclass(frozen=True)
class Piece:
    """A file to write for a case, and what may have predicted it."""

    study: Study
    case: Case
    kind: ExportKind
    target: Target
    maker: Maker


def write_piece(piece: Piece, voxels: Windowed) -> None:
    """Write a file with its provenance; raises UserError where it cannot be written."""
    case, target = piece.case, piece.target
    dicom = target.form in (OutFormat.DICOM_SEG, OutFormat.RTSTRUCT)
    along = (
        case.geometry.display_axis(2)
        if dicom
        else written_along(target.path, case.geometry, case.source)
    )
    volume = Volume(cast(Any, Banded(voxels, along)), case.geometry)
    if dicom:
        _write_dicom(piece, volume)
    elif voxels.dtype.kind == "f":
        write_map(target.path, volume, case.source)
    else:
        write_labels(target.path, volume, case.source)
    write_provenance(
        target.path, piece.study, [case], piece.kind, maker=piece.maker, label=target.label
    )


def _write_dicom(piece: Piece, volume: Volume) -> None:
    # Here, so that nobody else waits for highdicom.
    from napari_mlbseg.formats.dicom_origin import origin_of
    from napari_mlbseg.formats.dicom_seg_out import write_label_segmentation, write_map_segmentation
    from napari_mlbseg.formats.rtstruct import write_rtstruct

    origin = origin_of(piece.case.image_path, piece.case.source)
    about = _about(piece)
    if piece.target.form is OutFormat.RTSTRUCT:
        write = write_rtstruct
    elif volume.dtype.kind == "f":
        write = write_map_segmentation
        about = _of_map(about, piece.target)
    else:
        write = write_label_segmentation
    with replacing(piece.target.path) as temporary:
        write(temporary, volume, origin, about)


def _about(piece: Piece) -> About:
    study, case, kind, array = piece.study, piece.case, piece.kind, piece.target.array
    maker = piece.maker if is_predicted(study, case, kind) else NOBODY
    return About(
        title=kind.value if array is None else array.value.replace("_", " "),
        segments=tuple(Segment(c.value, c.name, c.color) for c in study.classes),
        automatic=kind is not ExportKind.LABELS,
        author=current_user(),
        version=software_version(),
        model=maker.checkpoint_sha256,
        comment=in_words(study, case) if kind is ExportKind.LABELS else "",
    )


def _of_map(about: About, target: Target) -> About:
    """The only segment of a map is its class, or its quantity."""
    label = target.label
    if label is None:
        return replace(about, segments=(Segment(1, about.title, _MAP_COLOR),))
    return replace(about, segments=(Segment(label.value, label.name, label.color),))
