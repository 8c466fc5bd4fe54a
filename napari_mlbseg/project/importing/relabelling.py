"""Better rough labels for cases that are in a study: the machine's labels are made anew.

The slices that a person corrected lie over the new labels as they lay over the old ones.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.grids import on_grid_of
from napari_mlbseg.formats.registry import open_labels
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue.amendments import Amendment
from napari_mlbseg.project.folder.room import require_room
from napari_mlbseg.project.importing.case_files import CaseFiles
from napari_mlbseg.project.importing.failures import Failure, shortened
from napari_mlbseg.project.importing.label_values import LabelValues
from napari_mlbseg.project.importing.layout import labels_for
from napari_mlbseg.project.importing.names import Rule
from napari_mlbseg.project.importing.numbering import Numbering
from napari_mlbseg.project.records.cases import Case, ClassesOnly
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.study import Study


@dataclass(frozen=True)
class Changed:
    """The outcome of a change of several cases.

    Attributes
    ----------
    cases
        The cases that were changed, as they are now.
    failures
        Files that could not be used, each with the reason; their cases stay as they were.
    notes
        Unusual things about the files that were used.
    """

    cases: tuple[Case, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[Failure, ...] = ()


def relabel(
    study: Study,
    labels: Path,
    names: Sequence[str] = (),
    *,
    rule: Rule | None = None,
    choice: Choice | None = None,
    progress: Progress = silent,
) -> Changed:
    """Replace the imported labels of cases, and leave out the machine's arrays made of the old.

    Parameters
    ----------
    labels
        A folder with labels that are named after the cases or their images, or one label file.
    names
        The cases, by their names; by default all that the folder has labels for.
    rule
        How label files are called after cases or their images; by default it is found out.
    choice
        How the labels are read.

    Raises
    ------
    UserError
        If a training goes on, or if no labels can be used; the study is unchanged then.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"), Path("rough"))
    ...     changed = relabel(study, Path("truth"), ["phantom_02"])
    >>> [case.labels_path.parent.name for case in changed.cases]
    ['truth']
    """
    study.runs.require_none("replace the labels")
    cases = [study.named(name) for name in names] or list(study.cases)
    files = _files(study, labels, cases, rule, by_name=bool(names))
    numbering = Numbering.of(list(files.values()), study.classes, choice or Choice())
    amended: dict[str, Amendment] = {}
    failures, notes = list[Failure](), list[Failure]()
    try:
        for done, case in enumerate(case for case in cases if case.id in files):
            progress(f"Reading labels of {case.name}", done, len(files))
            try:
                part = case.source.choice
                kept = replace(choice or Choice(), frame=part.frame, series=part.series)
                found = files[case.id]
                values = _opened(study, case, found, numbering, kept)
                amended[case.id] = _stored(study, case, values, numbering.choice_of(found, kept))
                told = (*values.scan.notes, *values.scan.found_later())
                notes += [Failure(values.path, note) for note in told]
            except UserError as error:
                failures.append(Failure(files[case.id].labels or labels, str(error)))
        if not amended:
            raise UserError("\n".join(failure.reason for failure in failures))
        study.changes.relabel(amended, labels=str(labels))
    except BaseException:
        study.changes.sweep(case.id for case in cases)
        raise
    changed = tuple(study.case(case_id) for case_id in amended)
    return Changed(changed, tuple(failures), tuple(notes))


def _files(
    study: Study, labels: Path, cases: Sequence[Case], rule: Rule | None, *, by_name: bool
) -> dict[str, CaseFiles]:
    """The labels of each case, by its id: named after the case, or after its image."""
    if labels.is_file():
        if len(cases) != 1:
            raise UserError(f"{labels} is one label file. Name the one case that it belongs to.")
        return {cases[0].id: CaseFiles(cases[0].id, cases[0].image_path, labels)}
    # Among the names of all cases, or labels of one would be taken for those of another.
    called = {case.name: case.id for case in study.cases}
    called |= {case.id: case.id for case in study.cases if case.id not in called}
    found = {called[name]: files for name, files in labels_for(list(called), labels, rule).items()}
    images = {case.id: case.image_path for case in cases}
    known = {i: replace(found[i], id=i, image=images[i]) for i in images if i in found}
    lacking = [case.name for case in cases if case.id not in known]
    if not known or (by_name and lacking):
        raise UserError(
            f"{labels} has no labels for {shortened(lacking)}"
            f"{'' if rule is None else f' by the rule {rule}'}. Label files have the name of their "
            "case or of its image, or differ from it in the same way for all cases, or in the way "
            "that a rule tells (--pair); for one case name its label file."
        )
    return known


def _opened(
    study: Study, case: Case, files: CaseFiles, numbering: Numbering, choice: Choice
) -> LabelValues:
    assert files.labels is not None, "only cases with labels are read"
    path = files.labels.absolute()
    found = numbering.named(files, open_labels(path, numbering.choice_of(files, choice)))
    aligned = on_grid_of(found, case.geometry, path, case.image_path, case.source)
    require_room(study.path, path, [aligned])
    return LabelValues(aligned, path, study.classes)


def _stored(study: Study, case: Case, values: LabelValues, choice: Choice) -> Amendment:
    """Store labels beside those that count, and say what becomes of the case."""
    before = study.changes.amendment(case.id)
    edition = before.edition + 1
    labels = ClassesOnly(values, values.path)
    study.arrays.put(case.id, ArrayName.INITIAL_LABELS, labels, case.axis, edition)
    return replace(
        before,
        labels_path=str(values.path),
        source_choice=json.dumps(asdict(choice)),
        edition=edition,
    )
