"""The commands that write what leaves a study, as functions that return plain documents.

Axes and indices are those of the file's array, as in every command.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_mlbseg.cli.output import damage_notes
from napari_mlbseg.cli.progress import counting
from napari_mlbseg.cli.studies import slices_of
from napari_mlbseg.engine.training.untrained import check_trained
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.exporting.chosen import Chosen
from napari_mlbseg.project.exporting.contents import Contents, Tell, contents_of
from napari_mlbseg.project.exporting.export import export_contents
from napari_mlbseg.project.exporting.kinds import DICOM, ExportKind, OutFormat
from napari_mlbseg.project.exporting.notes import forms_of, notes_of
from napari_mlbseg.project.exporting.provenance import provenance_path, tidied_document
from napari_mlbseg.project.records.progress import Progress
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.tidying.told import Tidied, summary

Document = Mapping[str, Any]


def export(
    path: Path,
    out: Path,
    kind: ExportKind,
    form: OutFormat,
    *,
    names: Sequence[str] = (),
    slices: str | None = None,
    file_axis: int | None = None,
    archive: str | None = None,
) -> Document:
    """Write the files of some cases, by default of all, or one table; or some slices of a case.

    DICOM files are sent to an archive, if one is given.
    """
    tidied: dict[str, Tidied] = {}
    with Study.open(path, writable=False) as study, counting() as progress:
        chosen = None if slices is None else _chosen(study, names, slices, file_axis)
        cases = [study.named(name).id for name in dict.fromkeys(names)] or None
        contents = contents_of(study, kind, cases, chosen)
        if archive is not None:
            _require_dicom(contents, form, archive)
        files = _written(contents, out, form, progress, tidied.__setitem__)
        arrived = [] if archive is None else _sent(files, archive)
        damage_notes(study.damage())
        return {
            "study": str(study.path),
            "damage": list(study.damage()),
            "what": kind.value,
            "format": form.value,
            "files": [str(file) for file in files],
            "provenance": [str(provenance_path(file)) for file in files],
            "arrived": arrived,
            "tidied": {name: tidied_document(told) for name, told in tidied.items()},
            "tidied_summary": summary(tidied),
            "notes": list(notes_of(contents, form)),
        }


def report(path: Path, out: Path) -> Document:
    """Write a page about a study."""
    from napari_mlbseg.report.report import write_report

    with Study.open(path, writable=False) as study, counting() as progress:
        return {"study": str(study.path), "report": str(write_report(study, out, progress))}


def _chosen(study: Study, names: Sequence[str], slices: str, file_axis: int | None) -> Chosen:
    if len(names) != 1:
        raise UserError("Slices are those of one case: name it with --case.")
    case = study.named(names[0])
    axis, indices = slices_of(case, slices, file_axis)
    return Chosen(axis, tuple(indices))


def _require_dicom(contents: Contents, form: OutFormat, archive: str) -> None:
    from napari_mlbseg.formats.dicom_out.dicomweb import require_archive

    if not forms_of(contents, form) <= set(DICOM):
        raise UserError(
            "An archive takes DICOM: choose --format dicom-seg, dicom-labelmap or rtstruct."
        )
    require_archive(archive)


def _sent(files: Sequence[Path], archive: str) -> list[str]:
    from napari_mlbseg.formats.dicom_out.dicomweb import push

    return list(push(files, archive))


def _written(
    contents: Contents, out: Path, form: OutFormat, progress: Progress, tell: Tell
) -> list[Path]:
    if contents.kind is not ExportKind.PROBABILITIES:
        return export_contents(contents, out, form=form, progress=progress, tell=tell)
    check_trained(contents.study)
    from napari_mlbseg.engine.predictions.probabilities import export_predicted_probabilities

    study, cases = contents.study, contents.cases
    each = [None] if cases == study.cases else [case.id for case in cases]
    written = [
        export_predicted_probabilities(study, out, case_id=one, form=form, progress=progress)
        for one in each
    ]
    return [path for paths in written for path in paths]
