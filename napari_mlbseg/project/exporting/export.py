"""Export: writes the files of each case, with their provenance beside them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.placing import Workplace, explained, workplace
from napari_mlbseg.project.exporting import itk_snap
from napari_mlbseg.project.exporting.checks import require_arrays, require_format, require_safe
from napari_mlbseg.project.exporting.chosen import Chosen
from napari_mlbseg.project.exporting.computed import Computed, kept_meanwhile
from napari_mlbseg.project.exporting.contents import Contents, Tell, contents_of
from napari_mlbseg.project.exporting.datasets import write_dataset
from napari_mlbseg.project.exporting.kinds import DATASETS, LABEL_KINDS, ExportKind, OutFormat
from napari_mlbseg.project.exporting.outputs import (
    Target,
    formats_for,
    probability_targets,
    targets_of,
)
from napari_mlbseg.project.exporting.provenance import maker_of, provenance_path, write_provenance
from napari_mlbseg.project.exporting.tidied import labels_of
from napari_mlbseg.project.exporting.volumes import write_volumes
from napari_mlbseg.project.exporting.voxels import NotFiniteError, Windowed
from napari_mlbseg.project.exporting.writing import CaseFile, write_case_file
from napari_mlbseg.project.importing.failures import shortened
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.tidying.told import Tidied

__all__ = [
    "ExportKind",
    "OutFormat",
    "export_case",
    "export_probabilities",
    "export_study",
    "formats_for",
]


def _nobody(name: str, tidied: Tidied) -> None:
    """Nobody wants to know."""


def export_case(
    study: Study,
    case_id: str,
    folder: Path,
    kind: ExportKind,
    form: OutFormat = OutFormat.AUTO,
    *,
    chosen: Chosen | None = None,
    tell: Tell = _nobody,
) -> list[Path]:
    """Write the file or files of one case into a folder, which is created if needed.

    Labels and predictions are tidied: a class has as few pieces as the study says, and no holes if
    it has none; a person's slices stay as they are. `tell` is called with what was done.

    `chosen` are the slices of which labels are written; voxels of the others are 255, which is no
    class, or have no segment. Data sets are a new folder inside `folder`.

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
    contents = contents_of(study, kind, [case_id], chosen)
    return export_contents(contents, folder, form=form, tell=tell)


def export_study(
    study: Study,
    folder: Path,
    kind: ExportKind,
    progress: Progress | None = None,
    *,
    form: OutFormat = OutFormat.AUTO,
    cases: Sequence[str] | None = None,
    tell: Tell = _nobody,
) -> list[Path]:
    """Write the files of all cases, see `export_case`; nothing is written unless all can be.

    `cases` are the ids of some cases. Of ACCEPTED, cases without an accepted slice are left out.

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
    contents = contents_of(study, kind, cases)
    return export_contents(contents, folder, form=form, progress=progress or silent, tell=tell)


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
    kind = ExportKind.PROBABILITIES
    contents = contents_of(study, kind, None if case_id is None else [case_id])
    require_format(contents.cases, kind, form)
    by_value = sorted(study.classes, key=lambda c: c.value)
    files = [(case, probability_targets(case, folder, form, by_value)) for case in contents.cases]
    return _write_all(contents, files, folder, computed=computed)


def export_contents(
    contents: Contents,
    folder: Path,
    *,
    form: OutFormat = OutFormat.AUTO,
    progress: Progress = silent,
    tell: Tell = _nobody,
) -> list[Path]:
    """Write what an export holds, see `export_study`."""
    kind = contents.kind
    if kind is ExportKind.PROBABILITIES:
        raise ValueError(
            "probabilities are computed: see napari_mlbseg.engine.predictions.probabilities"
        )
    require_format(contents.cases, kind, form)
    require_arrays(contents.study, contents.cases, kind)
    if kind is ExportKind.VOLUMES:
        return _write_table(contents, folder / contents.table_name, progress, tell)
    if form in DATASETS:
        return write_dataset(contents, folder, form, progress, tell)
    files = [(case, targets_of(case, folder, kind, form)) for case in contents.cases]
    return _write_all(contents, files, folder, progress=progress, tell=tell)


def _write_all(
    contents: Contents,
    files: Sequence[tuple[Case, Sequence[Target]]],
    folder: Path,
    *,
    computed: Computed | None = None,
    progress: Progress = silent,
    tell: Tell = _nobody,
) -> list[Path]:
    study = contents.study
    paths = [target.path for _, targets in files for target in targets]
    _prepare(study, folder, paths)
    maker = maker_of(study) if computed is None else computed.maker
    refused: dict[str, NotFiniteError] = {}
    with explained(folder), workplace(folder) as work:
        for done, (case, targets) in enumerate(files):
            progress(f"Exporting {case.name}", done, len(files))
            own = [
                CaseFile(study, case, contents.kind, target, maker, contents.chosen)
                for target in targets
            ]
            try:
                with _content_of(contents, case, targets, computed) as content:
                    _write_case(own, content, work)
                if content.tidied is not None:
                    tell(case.name, content.tidied)
            except NotFiniteError as error:
                refused[case.name] = error
        if any(target.form is OutFormat.ITK_SNAP for _, targets in files for target in targets):
            _describe_labels(contents, folder / itk_snap.DESCRIPTION_NAME, work)
    if refused:
        raise _not_finite(refused, len(files))
    progress("Exported", len(files), len(files))
    return paths


def _describe_labels(contents: Contents, path: Path, work: Workplace) -> None:
    text = itk_snap.description(contents.study.classes, partial=contents.partial)
    work.new(path).write_text(text, encoding="utf-8", newline="\n")
    work.place([path])


@dataclass(frozen=True)
class _Content:
    """The voxels of the files of a case, in their order, and what was tidied of them, if any."""

    voxels: Sequence[Windowed]
    tidied: Tidied | None = None


def _write_case(files: Sequence[CaseFile], content: _Content, work: Workplace) -> None:
    """Write all files of a case and their provenance, which appear together or not at all."""
    paths = [file.target.path for file in files]
    for file, voxels in zip(files, content.voxels, strict=True):
        write_case_file(file, voxels, work.new(file.target.path))
    for file in files:
        write_provenance(
            work.new(provenance_path(file.target.path)),
            work.new(file.target.path),
            file.study,
            [file.case],
            file.kind,
            maker=file.maker,
            label=file.target.label,
            tidied={} if content.tidied is None else {file.case.id: content.tidied},
            chosen=file.chosen,
        )
    work.place(paths, told_by=[provenance_path(path) for path in paths])


def _not_finite(refused: Mapping[str, NotFiniteError], cases: int) -> UserError:
    """The error about cases that were not exported while others were."""
    first, *others = refused.values()
    if cases == 1:
        return first
    more = f" The same holds for {shortened(list(refused)[1:])}." if others else ""
    return UserError(f"{len(refused)} of {cases} cases were not exported. {first}{more}")


def _write_table(contents: Contents, path: Path, progress: Progress, tell: Tell) -> list[Path]:
    study, cases = contents.study, contents.cases
    _prepare(study, path.parent, [path])
    told = provenance_path(path)
    with explained(path), workplace(path.parent) as work:
        tidied = write_volumes(work.new(path), study, cases, progress)
        write_provenance(
            work.new(told), work.new(path), study, cases, ExportKind.VOLUMES, tidied=tidied
        )
        work.place([path], told_by=[told])
    for case in cases:
        if case.id in tidied:
            tell(case.name, tidied[case.id])
    return [path]


def _prepare(study: Study, folder: Path, paths: Sequence[Path]) -> None:
    require_safe(study, [*paths, *map(provenance_path, paths)])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be made: {error.strerror or error}. Choose another."
        ) from error


@contextmanager
def _content_of(
    contents: Contents, case: Case, targets: Sequence[Target], computed: Computed | None
) -> Iterator[_Content]:
    """What the files of a case hold."""
    if contents.kind in LABEL_KINDS:
        labels, tidied = labels_of(contents.study, case, contents.kind, contents.chosen)
        yield _Content([labels], tidied)
        return
    if computed is None:
        yield _Content([_stored(contents.study, case, target) for target in targets])
        return
    values = [target.label.value for target in targets if target.label is not None]
    folder = targets[0].path.parent
    with kept_meanwhile(computed.blocks(case), case, values, folder) as maps:
        yield _Content([maps[value] for value in values])


def _stored(study: Study, case: Case, target: Target) -> Windowed:
    assert target.array is not None, "probabilities are computed"
    return cast(Windowed, study.arrays.open(case.id, target.array))
