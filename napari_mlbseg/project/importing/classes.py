"""Classes that the user names, changes, merges and removes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import Choice
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue.amendments import Amendment
from napari_mlbseg.project.catalogue.moves import table_of
from napari_mlbseg.project.folder.inside import spelled
from napari_mlbseg.project.records.cases import MAX_CLASS, Case, LabelClass
from napari_mlbseg.project.records.palette import color_of
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.study import Study

BACKGROUND: Final = 0
"""What becomes of a class that is deleted, and not merged into another."""

_LONGEST_NAME: Final = 200
_WHERE: Final = {
    ArrayName.INITIAL_LABELS: "in the initial labels",
    ArrayName.PREDICTION: "in the prediction",
}


def named(names: str) -> tuple[LabelClass, ...]:
    """Classes from comma-separated names, with the values 1, 2, ... in this order.

    >>> [(found.value, found.name) for found in named("left atrium, scar")]
    [(1, 'left atrium'), (2, 'scar')]
    """
    split = [name.strip() for name in names.split(",")]
    if len(split) > MAX_CLASS:
        raise UserError(f"A study has at most {MAX_CLASS} classes, but got {len(split)} names.")
    return tuple(LabelClass(value, name, color_of(value)) for value, name in enumerate(split, 1))


def class_named(classes: Sequence[LabelClass], name: str) -> LabelClass:
    """The class of a name; UserError that lists the names if there is none."""
    found = next((one for one in classes if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in classes) or "none yet"
        raise UserError(f"There is no class {name!r}. The classes are: {known}.")
    return found


def change_classes(
    study: Study,
    classes: Sequence[LabelClass],
    *,
    becoming: Mapping[int, int] = MappingProxyType({}),
    progress: Progress | None = None,
) -> None:
    """Replace the classes of a study: rename, recolour, reorder, add, merge or remove some.

    A class keeps its value, wherever it stands in the order. Of one that is gone, `becoming` says
    which class its pixels become, in every mask that a person saved and in the machine's labels, or
    that they become background (0). The saved masks themselves stay as they are.

    Raises
    ------
    UserError
        If a class would be removed that is in use and of which `becoming` says nothing (a draft, a
        clean slice, initial labels or a prediction hold its value), for a name that is no good, and
        for classes that are removed while a training goes on.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_mlbseg.api import import_folder
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"), Path("rough"))
    ...     organ, lesion = study.classes
    ...     change_classes(study, [organ], becoming={lesion.value: organ.value})
    ...     int(study.labels.machine("phantom_01").max())
    1
    """
    _require_good_names(study.classes, classes)
    kept = {c.value for c in classes}
    gone = {c.value: c for c in study.classes if c.value not in kept}
    strange = [v for v in becoming if v not in gone]
    strange += [v for v in becoming.values() if v not in kept | {BACKGROUND}]
    if strange:
        raise ValueError(f"classes that are gone become others that stay, but got {strange}")
    if not gone:
        study.set_classes(classes)
        return
    study.runs.require_none("merge or remove the classes")
    unused = {value: one for value, one in gone.items() if value not in becoming}
    if unused:
        cases = study.cases
        for done, case in enumerate(cases):
            if progress is not None:
                progress(f"Looking for removed classes in {case.name}", done, len(cases))
            _require_unused(study, case, unused)
    everything = {**dict.fromkeys(unused, BACKGROUND), **becoming}
    amended = dict[str, Amendment]()
    try:
        if becoming:
            amended = dict(_mapped(study, becoming, progress or silent))
        study.changes.set_classes(classes, everything, amended)
    except BaseException:
        study.changes.sweep(case.id for case in (*study.cases, *study.changes.removed))
        raise


def _mapped(
    study: Study, becoming: Mapping[int, int], progress: Progress
) -> Iterator[tuple[str, Amendment]]:
    """Make labels of the machine with other values beside those that count, for all cases."""
    cases = (*study.cases, *study.changes.removed)
    table = table_of(becoming)
    for done, case in enumerate(cases):
        progress(f"Changing the labels of {case.name}", done, len(cases))
        before = study.changes.amendment(case.id)
        for name in _WHERE:
            if study.arrays.has(case.id, name):
                study.arrays.map_labels(case.id, name, table, before.edition + 1)
        choice = json.dumps(asdict(_renumbered(case.source.choice, becoming)))
        source_choice = before.source_choice if case.labels_path is None else choice
        amended = replace(before, edition=before.edition + 1, source_choice=source_choice)
        yield case.id, amended


def _renumbered(choice: Choice, becoming: Mapping[int, int]) -> Choice:
    """How a label file is read from now on, so that rebuilding makes the same labels."""
    known = {old: becoming.get(new, new) for old, new in choice.renumber}
    others = {old: new for old, new in becoming.items() if old not in known}
    return replace(choice, renumber=tuple(sorted((known | others).items())))


def _require_good_names(before: Sequence[LabelClass], now: Sequence[LabelClass]) -> None:
    known = {one.name for one in before}
    for one in now:
        if one.name not in known and not (
            one.name.isprintable()
            and one.name == one.name.strip()
            and len(one.name) <= _LONGEST_NAME
        ):
            raise UserError(
                f"{one.name!r} cannot be the name of a class. A name has at most {_LONGEST_NAME} "
                "characters, all of them visible, and no space at its ends."
            )
    for one in now:
        twins = [other.name for other in now if spelled(other.name) == spelled(one.name)]
        if len(twins) > 1 and not set(twins) <= known:
            raise UserError(
                f"Two classes would be called {' and '.join(twins)}. Names differ in more than "
                "upper and lower case."
            )


def _require_unused(study: Study, case: Case, gone: dict[int, LabelClass]) -> None:
    for record in study.slices.human(case.id):
        mask = study.slices.revision_mask(record.revision)
        _refuse(mask, gone, f"in slice {record.key.index} of {case.name}")
    for name, where in _WHERE.items():
        if study.arrays.has(case.id, name):
            _refuse(
                np.asarray(study.arrays.open(case.id, name)[:]), gone, f"{where} of {case.name}"
            )


def _refuse(labels: NDArray[np.uint8], gone: dict[int, LabelClass], where: str) -> None:
    counts = np.bincount(labels.ravel(), minlength=MAX_CLASS + 2)
    for value, found in gone.items():
        if counts[value]:
            raise UserError(
                f"Class {value} ({found.name}) is in use {where}, so it cannot be removed. "
                "Merge it into another class, or delete it with its pixels. No class was changed."
            )
