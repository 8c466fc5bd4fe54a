"""Classes that the user names, and whether a class can be removed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.records.cases import MAX_CLASS, LabelClass
from napari_mlbseg.project.records.palette import color_of
from napari_mlbseg.project.records.progress import Progress
from napari_mlbseg.project.study import Study

_WHERE = {
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


def change_classes(
    study: Study,
    classes: Sequence[LabelClass],
    *,
    progress: Progress | None = None,
) -> None:
    """Replace the classes of a study; raises UserError if that would remove a class in use.

    A class is in use if a draft, a clean slice, initial labels or a prediction hold its value.
    """
    kept = {c.value for c in classes}
    gone = {c.value: c for c in study.classes if c.value not in kept}
    if gone:
        cases = study.cases
        for done, case in enumerate(cases):
            if progress is not None:
                progress(f"Looking for removed classes in {case.id}", done, len(cases))
            _require_unused(study, case.id, gone)
    study.set_classes(classes)


def _require_unused(study: Study, case_id: str, gone: dict[int, LabelClass]) -> None:
    for record in study.slices.human(case_id):
        mask = study.slices.revision_mask(record.revision)
        _refuse(mask, gone, f"in slice {record.key.index} of {case_id}")
    for name, where in _WHERE.items():
        if study.arrays.has(case_id, name):
            _refuse(np.asarray(study.arrays.open(case_id, name)[:]), gone, f"{where} of {case_id}")


def _refuse(labels: NDArray[np.uint8], gone: dict[int, LabelClass], where: str) -> None:
    counts = np.bincount(labels.ravel(), minlength=MAX_CLASS + 2)
    for value, found in gone.items():
        if counts[value]:
            raise UserError(
                f"Class {value} ({found.name}) is in use {where}, so it cannot be removed. "
                "No class was changed."
            )
