"""The commands that change what a study is made of, as functions that return plain documents."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_mlbseg.cli.progress import counting
from napari_mlbseg.cli.studies import described_classes
from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.importing.case_files import Pairing
from napari_mlbseg.project.importing.classes import BACKGROUND, change_classes, class_named
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.importing.names import Rule
from napari_mlbseg.project.importing.relabelling import Changed
from napari_mlbseg.project.importing.relabelling import relabel as relabel_cases
from napari_mlbseg.project.importing.relocating import relocate as relocate_cases
from napari_mlbseg.project.importing.rules import Rules
from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.study import Study

Document = Mapping[str, Any]


def add(
    path: Path, images: Path, labels: Path | None, choice: Choice, pairing: Pairing
) -> Document:
    """Add the images of a folder to a study; those that it has already are listed."""
    with Study.open(path) as study, counting() as progress:
        added = import_folder(
            study, images, labels, pairing=pairing, choice=choice, progress=progress
        )
        return {
            "study": str(study.path),
            "added": [case.name for case in added.cases],
            "failures": [{"path": str(f.path), "reason": f.reason} for f in added.failures],
            "notes": [{"path": str(n.path), "note": n.reason} for n in added.notes],
        }


def require_cases(path: Path, names: Sequence[str]) -> None:
    """Raise UserError unless a study has all of these cases; before anybody is asked."""
    with Study.open(path, writable=False) as study:
        for name in names:
            study.named(name)


def remove(path: Path, names: Sequence[str]) -> Document:
    """Take cases out of a study."""
    with Study.open(path) as study:
        study.changes.remove(study.named(name).id for name in names)
        return _cases(study, removed=list(names))


def restore(path: Path, names: Sequence[str]) -> Document:
    """Undo removals."""
    with Study.open(path) as study:
        return _cases(study, restored=[study.changes.restore(name).name for name in names])


def rename(path: Path, before: str, after: str) -> Document:
    """Call a case otherwise."""
    with Study.open(path) as study:
        study.changes.rename(study.named(before).id, after)
        return _cases(study, renamed={before: after})


def removed(path: Path) -> list[str]:
    """The cases whose arrays `compact` deletes."""
    with Study.open(path, writable=False) as study:
        return [case.name for case in study.changes.removed]


def compact(path: Path) -> Document:
    """Delete the arrays of removed cases."""
    with Study.open(path) as study:
        return _cases(study, dropped=list(study.changes.compact()))


def relabel(
    path: Path, labels: Path, names: Sequence[str], choice: Choice, rule: Rule | None
) -> Document:
    """Take better rough labels for some cases."""
    with Study.open(path) as study, counting() as progress:
        changed = relabel_cases(study, labels, names, rule=rule, choice=choice, progress=progress)
        return _changed(study, changed)


def relocate(path: Path, folder: Path | None, table: Path | None) -> Document:
    """Tell a study where its files are."""
    if (folder is None) == (table is None):
        raise UserError("Name the folder where the files are now, or give a --table.")
    with Study.open(path) as study, counting() as progress:
        return _changed(study, relocate_cases(study, folder, table=table, progress=progress))


def classes(
    path: Path,
    rules: Rules,
    *,
    rename: str | None,
    colour: str | None,
    merge: str | None,
    delete: str | None,
    order: str | None,
) -> Document:
    """Change the classes of a study, all in one moment; names are those from before."""
    with Study.open(path) as study, counting() as progress:
        now = rules.applied(study.classes)
        becoming = _becoming(now, merge, delete)
        names = {class_named(now, old).value: new for old, new in _pairs(rename)}
        colours = {class_named(now, name).value: _parsed(text) for name, text in _pairs(colour)}
        kept = [
            replace(
                one,
                name=names.get(one.value, one.name),
                color=colours.get(one.value, one.color),
            )
            for one in _ordered(now, order)
            if one.value not in becoming
        ]
        change_classes(study, kept, becoming=becoming, progress=progress)
        return {"study": str(study.path), "classes": described_classes(study)}


def _ordered(classes: Sequence[LabelClass], order: str | None) -> list[LabelClass]:
    """The classes that a text names, in its order, and then the others in theirs."""
    names = [part.strip() for part in (order or "").split(",") if part.strip()]
    first = [class_named(classes, name) for name in dict.fromkeys(names)]
    return [*first, *(one for one in classes if one not in first)]


def _becoming(
    classes: Sequence[LabelClass], merge: str | None, delete: str | None
) -> dict[int, int]:
    """For each class that is gone, the class that its pixels become, or the background."""
    merged = {
        class_named(classes, old).value: class_named(classes, new).value
        for old, new in _pairs(merge)
    }
    names = [part.strip() for part in (delete or "").split(",") if part.strip()]
    deleted = {class_named(classes, name).value: BACKGROUND for name in names}
    if merged.keys() & deleted.keys() or merged.keys() & set(merged.values()):
        raise UserError("A class that is merged or deleted cannot take part in another change.")
    if set(merged.values()) & deleted.keys():
        raise UserError("A class that is deleted cannot take the pixels of another.")
    return merged | deleted


def _pairs(text: str | None) -> list[tuple[str, str]]:
    found = []
    for part in (part.strip() for part in (text or "").split(",") if part.strip()):
        old, sign, new = (side.strip() for side in part.partition("="))
        if not (old and sign and new):
            raise UserError(f"{part!r} says nothing of a class; write NAME=..., NAME=... .")
        found.append((old, new))
    return found


def _parsed(colour: str) -> tuple[int, int, int]:
    """A colour as it is written for the web.

    >>> _parsed("#e69f00")
    (230, 159, 0)
    """
    digits = colour.removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        raise UserError(f"{colour!r} is no colour; write red, green, blue as #e69f00.") from None
    return red, green, blue


def _cases(study: Study, **told: object) -> Document:
    return {
        "study": str(study.path),
        "cases": [case.name for case in study.cases],
        "removed_cases": [case.name for case in study.changes.removed],
        **told,
    }


def _changed(study: Study, changed: Changed) -> Document:
    return {
        "study": str(study.path),
        "cases": [
            {
                "name": case.name,
                "image": str(case.image_path),
                "labels": None if case.labels_path is None else str(case.labels_path),
            }
            for case in changed.cases
        ],
        "failures": [{"path": str(f.path), "reason": f.reason} for f in changed.failures],
        "notes": [{"path": str(n.path), "note": n.reason} for n in changed.notes],
    }
