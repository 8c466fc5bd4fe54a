"""Whether an export can be written at all, before anything is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.exporting.kinds import ExportKind, OutFormat
from napari_mlbseg.project.exporting.outputs import ARRAYS, formats_for
from napari_mlbseg.project.importing.failures import shortened
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.study import Study


def require_format(cases: Sequence[Case], kind: ExportKind, form: OutFormat) -> None:
    """Raise UserError unless the format can hold all cases."""
    unfit = [case.name for case in cases if form not in formats_for((case,), kind)]
    if not unfit:
        return
    if kind is ExportKind.VOLUMES:
        raise UserError("Volumes are written as a table (CSV). Leave the format out.")
    possible = ", ".join(found.value for found in formats_for(tuple(cases), kind))
    why = {
        OutFormat.OME_ZARR: "OME-Zarr up to 0.5 knows no oblique slices",
        OutFormat.DICOM_SEG: "DICOM refers to the series that a case came from",
        OutFormat.RTSTRUCT: "contours are outlines of labels, in the series that a case came from",
        OutFormat.DICOM_LABELMAP: "it holds labels, in the series that a case came from",
    }.get(form, "it holds labels")
    raise UserError(
        f"{kind.value} of {shortened(unfit)} cannot be written as {form.value}: {why}. Possible "
        f"for these cases: {possible}."
    )


def require_arrays(study: Study, cases: Sequence[Case], kind: ExportKind) -> None:
    """Raise UserError unless every case has the arrays that are to be written."""
    lacking = [
        case.name
        for case in cases
        if not all(study.arrays.has(case.id, name) for name in ARRAYS[kind])
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


def require_safe(study: Study, targets: Sequence[Path]) -> None:
    """Raise UserError if a file of the study, or one that it came from, would be overwritten."""
    home = study.path.resolve()
    sources = {path.resolve() for case in study.cases for path in _files_of(case)}
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


def _files_of(case: Case) -> Iterator[Path]:
    """The files that a case was imported from."""
    yield from (channel.image.path for channel in case.channels if channel.image is not None)
    if case.labels_path is not None:
        yield case.labels_path


def _same_file(a: Path, b: Path) -> bool:
    """Whether both exist and are one file, even if the disk ignores upper and lower case."""
    try:
        return a.samefile(b)
    except OSError:
        return False
