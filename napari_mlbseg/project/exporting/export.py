"""Export: writes the files of each case, with their provenance beside them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.placing import Workplace, explained, workplace
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.computed import Computed, kept_meanwhile
from napari_mlbseg.project.exporting.kinds import ExportKind, OutFormat
from napari_mlbseg.project.exporting.outputs import (
    ARRAYS,
    Target,
    formats_for,
    probability_targets,
    targets_of,
)
from napari_mlbseg.project.exporting.provenance import maker_of, provenance_path, write_provenance
from napari_mlbseg.project.exporting.volumes import write_volumes
from napari_mlbseg.project.exporting.voxels import NotFiniteError, Windowed
from napari_mlbseg.project.exporting.writing import Piece, write_piece
from napari_mlbseg.project.importing.pairing import shortened
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.study import Study

__all__ = [
    "ExportKind",
    "OutFormat",
    "export_case",
    "export_probabilities",
    "export_study",
    "formats_for",
]


def export_case(
    study: Study,
    case_id: str,
    folder: Path,
    kind: ExportKind,
    form: OutFormat = OutFormat.AUTO,
) -> list[Path]:
    """Write the file or files of one case into a folder, which is created if needed.

    Beside each file, ``NAME.provenance.json`` records its origin and hash. Existing files are
    replaced once all files of the case are complete, and a file never stands beside an older
    provenance; whatever a killed export left is finished or removed.

    Raises
    ------
    UserError
        If there is nothing to export yet, if voxels are NaN or infinite, if the format cannot hold
        the case, if a file of the study or a source file would be overwritten, or if the folder
        cannot be written.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"), Path("rough"))
    ...     [path] = export_case(study, "phantom_02", Path("out"), ExportKind.LABELS, OutFormat.MHA)
    >>> path.name
    'phantom_02.mha'
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
    """Write the files of all cases, see `export_case`; nothing is written unless all can be.

    Cases with NaN or infinite voxels are an exception: they are left out, and the `UserError` at
    the end names them.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"), Path("rough"))
    ...     written = export_study(study, Path("out"), ExportKind.LABELS)
    >>> [path.name for path in written]
    ['phantom_01.nii.gz', 'phantom_02.nii.gz']
    """
    if not study.cases:
        raise UserError("The study has no cases yet. Import images first.")
    if kind is ExportKind.VOLUMES:
        return _table(study, study.cases, folder / "volumes.csv", form, progress)
    return _export(study, study.cases, folder, kind, form=form, progress=progress)


def export_probabilities(
    study: Study,
    folder: Path,
    computed: Computed,
    *,
    case_id: str | None = None,
    form: OutFormat = OutFormat.AUTO,
) -> list[Path]:
    """Write probabilities that are computed meanwhile, for one case or for all.

    One file for each class, otherwise as `export_case`. Nothing is written into the study.
    """
    cases = study.cases if case_id is None else (study.case(case_id),)
    kind = ExportKind.PROBABILITIES
    _require_format(cases, kind, form)
    found = [probability_targets(case, folder, form, study.classes) for case in cases]
    return _write_all(study, list(zip(cases, found, strict=True)), folder, kind, computed=computed)


def _export(
    study: Study,
    cases: Sequence[Case],
    folder: Path,
    kind: ExportKind,
    *,
    form: OutFormat,
    progress: Progress | None,
) -> list[Path]:
    if kind is ExportKind.PROBABILITIES:
        raise ValueError(
            "probabilities are computed: see napari_mlbseg.engine.predictions.probabilities"
        )
    _require_format(cases, kind, form)
    _require_arrays(study, cases, kind)
    found = [targets_of(case, folder, kind, form) for case in cases]
    files = list(zip(cases, found, strict=True))
    return _write_all(study, files, folder, kind, progress=progress)


def _write_all(
    study: Study,
    files: Sequence[tuple[Case, Sequence[Target]]],
    folder: Path,
    kind: ExportKind,
    *,
    computed: Computed | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    paths = [target.path for _, targets in files for target in targets]
    _prepare(study, folder, paths)
    maker = maker_of(study) if computed is None else computed.maker
    refused: dict[str, NotFiniteError] = {}
    with explained(folder), workplace(folder) as work:
        for done, (case, targets) in enumerate(files):
            if progress is not None:
                progress(f"Exporting {case.id}", done, len(files))
            pieces = [Piece(study, case, kind, target, maker) for target in targets]
            try:
                with _voxels_of(study, case, targets, computed) as found:
                    _write_case(pieces, found, work)
            except NotFiniteError as error:
                refused[case.id] = error
    if refused:
        raise _not_finite(refused, len(files))
    if progress is not None:
        progress("Exported", len(files), len(files))
    return paths


def _write_case(pieces: Sequence[Piece], found: Sequence[Windowed], work: Workplace) -> None:
    """Write all files of a case and their provenance, which appear together or not at all."""
    paths = [piece.target.path for piece in pieces]
    for piece, voxels in zip(pieces, found, strict=True):
        write_piece(piece, voxels, work.new(piece.target.path))
    for piece in pieces:
        write_provenance(
            work.new(provenance_path(piece.target.path)),
            work.new(piece.target.path),
            piece.study,
            [piece.case],
            piece.kind,
            maker=piece.maker,
            label=piece.target.label,
        )
    work.place(paths, told_by=[provenance_path(path) for path in paths])


def _not_finite(refused: Mapping[str, NotFiniteError], cases: int) -> UserError:
    """The error about cases that were not exported while others were."""
    first, *others = refused.values()
    if cases == 1:
        return first
    more = f" The same holds for {shortened(list(refused)[1:])}." if others else ""
    return UserError(f"{len(refused)} of {cases} cases were not exported. {first}{more}")


def _table(
    study: Study, cases: Sequence[Case], path: Path, form: OutFormat, progress: Progress | None
) -> list[Path]:
    _require_format(cases, ExportKind.VOLUMES, form)
    _prepare(study, path.parent, [path])
    told = provenance_path(path)
    with explained(path), workplace(path.parent) as work:
        write_volumes(work.new(path), study, cases, progress or silent)
        write_provenance(work.new(told), work.new(path), study, cases, ExportKind.VOLUMES)
        work.place([path], told_by=[told])
    return [path]


def _prepare(study: Study, folder: Path, paths: Sequence[Path]) -> None:
    _require_safe(study, [*paths, *map(provenance_path, paths)])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be made: {error.strerror or error}. Choose another."
        ) from error


@contextmanager
def _voxels_of(
    study: Study, case: Case, targets: Sequence[Target], computed: Computed | None
) -> Iterator[Sequence[Windowed]]:
    """The voxels of the files of a case, in their order."""
    if computed is None:
        yield [_stored(study, case, target) for target in targets]
        return
    values = [target.label.value for target in targets if target.label is not None]
    folder = targets[0].path.parent
    with kept_meanwhile(computed.blocks(case), case, values, folder) as maps:
        yield [maps[value] for value in values]


def _stored(study: Study, case: Case, target: Target) -> Windowed:
    if target.array is None:
        return study.labels.windows(case.id)
    if target.array is ArrayName.PREDICTION:
        return study.labels.prediction_windows(case.id)
    return cast(Windowed, study.arrays.open(case.id, target.array))


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
    """Whether both exist and are one file, even if the disk ignores upper and lower case."""
    try:
        return a.samefile(b)
    except OSError:
        return False
