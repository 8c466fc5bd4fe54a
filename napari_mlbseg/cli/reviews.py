"""The commands for reviews, as functions that return plain documents.

Axes and slices are those of the file's array, as in every command.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from napari_mlbseg.cli.studies import slices_of
from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.reviews import Verdict
from napari_mlbseg.project.records.slices import SliceKey, SliceRecord
from napari_mlbseg.project.study import Study

Document = Mapping[str, Any]
Wanted = Literal["all", "to-review", "returned-to-me"]


def listed(path: Path, case_name: str | None, wanted: Wanted) -> Document:
    """The slices that are to be reviewed, or were, with what was said of them."""
    with Study.open(path, writable=False) as study:
        cases = study.cases if case_name is None else (study.named(case_name),)
        return _document(study, cases, wanted)


def give(
    path: Path,
    case_name: str,
    slices: str | None,
    verdict: Verdict,
    note: str,
    file_axis: int | None,
) -> Document:
    """Approve slices of a case or send them back; without `slices` all that await it."""
    with Study.open(path) as study:
        case = study.named(case_name)
        if slices is None:
            keys = _awaiting(study, case, file_axis)
        else:
            axis, indices = slices_of(case, slices, file_axis)
            keys = [SliceKey(case.id, axis, index) for index in indices]
        study.reviews.give(keys, verdict, note)
        told = _document(study, (case,), "all")
        return {**told, "reviewed": [_place(case, key) for key in keys]}


def teaching(path: Path, only_approved: bool | None) -> Document:
    """Say which slices teach, or tell what was said."""
    with Study.open(path, writable=only_approved is not None) as study:
        if only_approved is not None:
            study.reviews.let_teach(only_approved=only_approved)
        said = study.reviews.teaching
        return {
            "study": str(study.path),
            "only_approved": study.reviews.only_approved,
            "said_by": None if said is None else said.author,
            "said_at": None if said is None else said.created_at.isoformat(),
            "clean_slices": len(study.slices.clean()),
            "teaching_slices": len(study.slices.teaching()),
        }


def _awaiting(study: Study, case: Case, file_axis: int | None) -> list[SliceKey]:
    axis = None if file_axis is None else case.geometry.display_axis(file_axis)
    keys = [
        record.key
        for record in study.slices.records(case.id)
        if study.reviews.awaits_me(record) and axis in (None, record.key.axis)
    ]
    if not keys:
        raise UserError(
            f"No slice of {case.name} awaits your review: each is reviewed already, is not "
            "accepted, or was accepted by yourself."
        )
    return keys


def _document(study: Study, cases: tuple[Case, ...], wanted: Wanted) -> Document:
    found = [(case, record) for case in cases for record in study.slices.records(case.id)]
    chosen = [(case, record) for case, record in found if _is_wanted(study, record, wanted)]
    records = [record for _, record in found]
    return {
        "study": str(study.path),
        "only_approved": study.reviews.only_approved,
        "to_review": sum(record.to_review for record in records),
        "approved": sum(record.approved for record in records),
        "returned": sum(record.returned for record in records),
        "slices": [_described(case, record) for case, record in chosen],
    }


def _is_wanted(study: Study, record: SliceRecord, wanted: Wanted) -> bool:
    if wanted == "to-review":
        return study.reviews.awaits_me(record)
    if wanted == "returned-to-me":
        return study.reviews.returned_to_me(record)
    return record.to_review or record.review is not None


def _described(case: Case, record: SliceRecord) -> Document:
    review = record.review
    return {
        **_place(case, record.key),
        "review": "to review" if review is None else review.verdict.value,
        "accepted_by": record.author if review is None else review.accepted_by,
        "reviewed_by": None if review is None else review.author,
        "reviewed_at": None if review is None else review.created_at.isoformat(),
        "note": None if review is None else review.note,
    }


def _place(case: Case, key: SliceKey) -> Document:
    return {
        "case": case.name,
        "axis": case.geometry.file_axes[key.axis],
        "slice": case.geometry.file_index(key.axis, key.index),
    }
