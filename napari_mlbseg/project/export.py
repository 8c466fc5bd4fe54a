"""Export: files for each case where its voxels lie, with their provenance beside them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.about import About, Segment
from napari_mlbseg.formats.registry import replacing, write_labels, write_map, written_along
from napari_mlbseg.project.cases import Case
from napari_mlbseg.project.lock import current_user
from napari_mlbseg.project.outputs import (
    ARRAYS,
    ExportKind,
    OutFormat,
    Target,
    formats_for,
    targets_of,
)
from napari_mlbseg.project.pairing import shortened
from napari_mlbseg.project.provenance import (
    in_words,
    is_predicted,
    model_hash,
    provenance_path,
    software_version,
    write_provenance,
)
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.volumes import write_volumes
from napari_mlbseg.project.voxels import Banded, Windowed, WorkingLabels
from napari_mlbseg.volume import Volume

__all__ = ["ExportKind", "OutFormat", "export_case", "export_study", "formats_for"]

Progress = Callable[[str, int, int], None]

_MAP_COLOR = (0, 158, 115)


def export_case(
    study: Study,
    case_id: str,
    folder: Path,
    kind: ExportKind,
    form: OutFormat = OutFormat.AUTO,
) -> list[Path]:
    """Write the file or files of one case into a folder, which is made if need be.

    A file that is there already is replaced once the new one is complete. Beside each file,
    ``NAME.provenance.json`` says where it comes from.

    Raises
    ------
    UserError
        If there is nothing to export yet, if the case cannot be written in this format, if a file
        of the study or one that it was imported from would be overwritten, or if the folder cannot
        be written.
    """
    case = study.case(case_id)
    if kind is ExportKind.VOLUMES:
        return _table(study, [case], folder / f"{case.id}_volumes.csv", form, None)
    return _export(study, [case], folder, kind, form=form, progress=None)


def export_study(
    study: Study,
    folder: Path,
    kind: ExportKind,
    progress: Progress | None = None,
    *,
    form: OutFormat = OutFormat.AUTO,
) -> list[Path]:
    """Write the files of all cases, see `export_case`; nothing is written unless all can be."""
    if not study.cases:
        raise UserError("The study has no cases yet. Import images first.")
    if kind is ExportKind.VOLUMES:
        return _table(study, study.cases, folder / "volumes.csv", form, progress)
    return _export(study, study.cases, folder, kind, form=form, progress=progress)


def _export(
    study: Study,
    cases: Sequence[Case],
    folder: Path,
    kind: ExportKind,
    *,
    form: OutFormat,
    progress: Progress | None,
) -> list[Path]:
    _require_format(cases, kind, form)
    _require_arrays(study, cases, kind)
    targets = [targets_of(case, folder, kind, form) for case in cases]
    paths = [target.path for found in targets for target in found]
    _prepare(study, folder, paths)
    for done, (case, found) in enumerate(zip(cases, targets, strict=True)):
        if progress is not None:
            progress(f"Exporting {case.id}", done, len(cases))
        for target in found:
            _write(study, case, target, kind)
            write_provenance(target.path, study, [case], kind)
    if progress is not None:
        progress("Exported", len(cases), len(cases))
    return paths


def _table(
    study: Study, cases: Sequence[Case], path: Path, form: OutFormat, progress: Progress | None
) -> list[Path]:
    _require_format(cases, ExportKind.VOLUMES, form)
    _prepare(study, path.parent, [path])
    write_volumes(path, study, cases, progress or (lambda *_: None))
    write_provenance(path, study, cases, ExportKind.VOLUMES)
    return [path]


def _prepare(study: Study, folder: Path, paths: Sequence[Path]) -> None:
    _require_safe(study, [*paths, *map(provenance_path, paths)])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be made: {error.strerror or error}. Choose another."
        ) from error


def _write(study: Study, case: Case, target: Target, kind: ExportKind) -> None:
    voxels: Windowed
    if target.array is None:
        voxels = WorkingLabels(study, case.id)
    else:
        voxels = cast(Windowed, study.array(case.id, target.array))
    dicom = target.form in (OutFormat.DICOM_SEG, OutFormat.RTSTRUCT)
    along = (
        case.geometry.display_axis(2)
        if dicom
        else written_along(target.path, case.geometry, case.source)
    )
    volume = Volume(cast(Any, Banded(voxels, along)), case.geometry)
    if dicom:
        _write_dicom(study, case, target, volume, kind)
    elif voxels.dtype.kind == "f":
        write_map(target.path, volume, case.source)
    else:
        write_labels(target.path, volume, case.source)


def _write_dicom(
    study: Study, case: Case, target: Target, volume: Volume, kind: ExportKind
) -> None:
    # Here, so that nobody else waits for highdicom.
    from napari_mlbseg.formats.dicom_origin import origin_of
    from napari_mlbseg.formats.dicom_seg_out import write_label_segmentation, write_map_segmentation
    from napari_mlbseg.formats.rtstruct import write_rtstruct

    origin = origin_of(case.image_path, case.source)
    about = _about(study, case, target, kind)
    if target.form is OutFormat.RTSTRUCT:
        write = write_rtstruct
    elif volume.dtype.kind == "f":
        write = write_map_segmentation
        about = _of_map(about)
    else:
        write = write_label_segmentation
    with replacing(target.path) as temporary:
        write(temporary, volume, origin, about)


def _about(study: Study, case: Case, target: Target, kind: ExportKind) -> About:
    predicted = is_predicted(study, case, kind)
    return About(
        title=kind.value if target.array is None else target.array.value.replace("_", " "),
        segments=tuple(Segment(c.value, c.name, c.color) for c in study.classes),
        automatic=kind is not ExportKind.LABELS,
        author=current_user(),
        version=software_version(),
        model=model_hash(study) if predicted else "",
        comment=in_words(study, case) if kind is ExportKind.LABELS else "",
    )


def _of_map(about: About) -> About:
    """The only segment of a map is its quantity."""
    return replace(about, segments=(Segment(1, about.title, _MAP_COLOR),))


def _require_format(cases: Sequence[Case], kind: ExportKind, form: OutFormat) -> None:
    unfit = [case.id for case in cases if form not in formats_for((case,), kind)]
    if not unfit:
        return
    if kind is ExportKind.VOLUMES:
        raise UserError("Volumes are written as a table (CSV). Leave the format out.")
    possible = ", ".join(found.value for found in formats_for(tuple(cases), kind))
    why = {
        OutFormat.OME_ZARR: "OME-Zarr up to 0.5 knows no oblique slices",
        OutFormat.DICOM_SEG: "DICOM refers to the series that a case came from",
        OutFormat.RTSTRUCT: "contours are outlines of labels, in the series that a case came from",
    }[form]
    raise UserError(
        f"{kind.value} of {shortened(unfit)} cannot be written as {form.value}: {why}. Possible "
        f"for these cases: {possible}."
    )


def _require_arrays(study: Study, cases: Sequence[Case], kind: ExportKind) -> None:
    lacking = [
        case.id
        for case in cases
        if not all(study.has_array(case.id, name) for name in ARRAYS[kind])
    ]
    if not lacking:
        return
    what, how = {
        ExportKind.PREDICTION: ("prediction", "Start the training, which predicts every case"),
        ExportKind.INITIAL: (
            "initial labels",
            "Import labels with the images, or start the training, whose base model makes them",
        ),
        ExportKind.WEIGHTS: ("weight maps", "Start the training, which computes them"),
        ExportKind.TRUST: ("trust maps", "Start the training, which computes them"),
    }[kind]
    raise UserError(
        f"{len(lacking)} cases have no {what} yet: {shortened(lacking)}. {how} (on the command "
        "line: mlbseg run), then export again."
    )


def _require_safe(study: Study, targets: Sequence[Path]) -> None:
    home = study.path.resolve()
    sources = {
        path.resolve()
        for case in study.cases
        for path in (case.image_path, case.labels_path)
        if path is not None
    }
    for target in targets:
        resolved = target.resolve()
        if resolved.is_relative_to(home):
            raise UserError(
                f"{target} lies inside the study {study.path}. Export into another folder."
            )
        if resolved in sources or any(_same_file(resolved, source) for source in sources):
            raise UserError(
                f"{target} is a file that the study was imported from; it is never overwritten. "
                "Export into another folder."
            )


def _same_file(a: Path, b: Path) -> bool:
    """Whether both exist and are one file, also where the disk ignores upper and lower case."""
    try:
        return a.samefile(b)
    except OSError:
        return False
