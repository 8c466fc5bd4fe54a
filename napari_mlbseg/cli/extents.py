"""The command about extents: between which slices of a case a class shows.

Axes and slices are those of the file's array, as in every command.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.coverage import looked_at_everywhere
from napari_mlbseg.project.records.extents import UNMARKED, End, Extent, from_file, in_file
from napari_mlbseg.project.records.reach import beyond_in_words, reaches
from napari_mlbseg.project.study import Study

Document = Mapping[str, Any]


def show(path: Path, name: str) -> Document:
    """What is marked in a case; works while somebody annotates the study."""
    with Study.open(path, writable=False) as study:
        return _document(study, study.named(name))


def mark(
    path: Path, name: str, class_name: str | None, file_axis: int | None, ends: Extent
) -> Document:
    """Mark one end or both; an end that is not given stays as it is."""
    with Study.open(path) as study:
        case, label = study.named(name), _class(study, class_name)
        along = _axis(case, file_axis)
        _require_slices(case, along, ends)
        axis = case.geometry.display_axis(along)
        before = in_file(case.geometry, axis, study.extents.marked(case.id, axis, label.value))
        wanted = Extent(
            before.first if ends.first is None else ends.first,
            before.last if ends.last is None else ends.last,
        )
        extent = from_file(case.geometry, along, wanted)
        study.extents.mark(case.id, axis, label.value, extent)
        return _document(study, case)


def clear(path: Path, name: str, class_name: str | None, file_axis: int | None) -> Document:
    """Take the marks of a class away."""
    with Study.open(path) as study:
        case, label = study.named(name), _class(study, class_name)
        axis = case.geometry.display_axis(_axis(case, file_axis))
        study.extents.clear(case.id, axis, label.value)
        return _document(study, case)


def extents_of(study: Study, case: Case) -> list[dict[str, Any]]:
    """What is marked in a case, and how far accepted slices widen it."""
    names, geometry = {found.value: found.name for found in study.classes}, case.geometry
    found = []
    for one in study.extents.of(case.id):
        marked = in_file(geometry, one.axis, one.extent)
        counts = in_file(geometry, one.axis, study.extents.effective(case.id, one.axis)[one.value])
        found.append(
            {
                "class": {"value": one.value, "name": names[one.value]},
                "axis": geometry.file_axes[one.axis],
                "first": marked.first,
                "last": marked.last,
                "with_clean_slices": {"first": counts.first, "last": counts.last},
            }
        )
    return found


def unknown_ends(study: Study, case: Case) -> dict[str, list[str]]:
    """The classes of which nothing says where they begin or end along the axis of the case."""
    names = {found.value: found.name for found in study.classes}
    ends = study.extents.unknown_ends(case.id, case.axis)
    first, last = ([names[value] for value in ends[end]] for end in End)
    if case.geometry.flipped[case.axis]:
        first, last = last, first
    return {"first": first, "last": last}


def not_corrected(study: Study) -> str:
    """What nobody has looked at, in words; empty if there is nothing."""
    clean, certified = study.slices.clean(), study.extents.certified()
    if study.cases and not clean:
        return "nothing was corrected yet"
    found = looked_at_everywhere(study.cases, clean, certified)
    return beyond_in_words(reaches(study.cases, found), in_file=True)


def _document(study: Study, case: Case) -> Document:
    empty = np.flatnonzero(study.extents.certified_empty(case.id, case.axis)).tolist()
    return {
        "study": str(study.path),
        "case": case.name,
        "extents": extents_of(study, case),
        "ends_unknown": unknown_ends(study, case),
        "certified_empty": {
            "axis": case.geometry.file_axes[case.axis],
            "slices": sorted(case.geometry.file_index(case.axis, i) for i in empty),
        },
    }


def _class(study: Study, name: str | None) -> LabelClass:
    """The class of a name or a value; the only one of the study without a name."""
    classes = study.classes
    found = [one for one in classes if name in (None, one.name, str(one.value))]
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.name for one in classes) or "none yet"
    if name is None:
        raise UserError(f"Say which class with --class. The classes of the study: {names}.")
    raise UserError(f"There is no class {name!r} in this study. Its classes: {names}.")


def _axis(case: Case, file_axis: int | None) -> int:
    return case.geometry.file_axes[case.axis] if file_axis is None else file_axis


def _require_slices(case: Case, file_axis: int, ends: Extent) -> None:
    count = case.geometry.file_shape[file_axis]
    for index in (ends.first, ends.last):
        if index is not None and not 0 <= index < count:
            raise UserError(
                f"Axis {file_axis} of {case.name} has the slices 0 to {count - 1}, but got {index}."
            )


def given(first: int | None, last: int | None, *, clearing: bool) -> Extent:
    """The ends that were asked for; UserError if they are to be cleared as well."""
    ends = Extent(first, last)
    if clearing and ends != UNMARKED:
        raise UserError("--clear takes both marks away: leave out --first and --last.")
    return ends
