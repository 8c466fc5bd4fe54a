"""The commands for several people on one study, as functions that return plain documents.

Axes and slices are those of the file's array, as in every command.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.catalogue.unions import Union
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.sharing import agreement as agreeing
from napari_mlbseg.project.sharing.splitting import dealt, drawn_blindly
from napari_mlbseg.project.sharing.splitting import split as split_study
from napari_mlbseg.project.study import Study

Document = Mapping[str, Any]


def split(
    path: Path, out: Path, people: str, shared: float, shared_slices: float, seed: int
) -> Document:
    """Write a copy of a study for each person."""
    names = [name.strip() for name in people.split(",")]
    with Study.open(path, writable=False) as study:
        hands = dealt([case.name for case in study.cases], names, shared=shared, seed=seed)
        blind = drawn_blindly(study, shared_slices, seed=seed)
        copies = split_study(study, out, hands, blind)
        return {
            "study": str(study.path),
            "copies": [
                {"person": name, "study": str(copies[name]), "cases": list(hand)}
                for name, hand in hands.items()
            ],
            "blind": [_place(study, key) for key in blind],
        }


def merge(path: Path, others: Sequence[Path]) -> Document:
    """Take the work of copies into a study."""
    with Study.open(path) as study:
        taken = []
        for place in others:
            with Study.open(place, writable=False) as other:
                merged = study.merge(other)
            taken.append(
                {
                    "study": str(place),
                    "cases": list(merged.cases),
                    "revisions": merged.revisions,
                    "extents": merged.extents,
                    "reviews": merged.reviews,
                    "left_out": list(merged.left_out),
                }
            )
        return {"study": str(study.path), "merged": taken, "conflicts": _conflicts(study)}


def conflicts(path: Path) -> Document:
    """The slices that several people accepted with different masks."""
    with Study.open(path, writable=False) as study:
        return {"study": str(study.path), "conflicts": _conflicts(study)}


def choose(path: Path, case_name: str, index: int, person: str, file_axis: int | None) -> Document:
    """Accept the mask of one person in a conflict."""
    with Study.open(path) as study:
        case = study.named(case_name)
        axis = case.axis if file_axis is None else case.geometry.display_axis(file_axis)
        found = next(
            (
                union
                for union in study.unions.conflicts()
                if (union.key.case_id, union.key.axis) == (case.id, axis)
                and case.geometry.file_index(axis, union.key.index) == index
            ),
            None,
        )
        if found is None:
            raise UserError(
                f"There is no conflict in slice {index} of {case_name}. `mlbseg conflicts` lists "
                "the slices that several people accepted with different masks."
            )
        theirs = [one for one in found.opinions if one.author == person]
        if not theirs:
            people = " and ".join(sorted({one.author for one in found.opinions}))
            raise UserError(
                f"{person} accepted no mask of slice {index} of {case_name}, but {people} did. "
                "Choose one of them."
            )
        study.unions.choose(found.key, theirs[-1].revision)
        return {"study": str(study.path), "conflicts": _conflicts(study)}


def agreement(path: Path) -> Document:
    """How far people agree where they did not know of each other's masks."""
    with Study.open(path, writable=False) as study:
        names = {one.value: one.name for one in study.classes}
        return {
            "study": str(study.path),
            "agreement": [
                {
                    "people": list(one.people),
                    "class": names.get(one.value, str(one.value)),
                    "dice": one.dice,
                    "distance_mm": one.distance_mm,
                    "slices": one.slices,
                }
                for one in agreeing.agreement(study)
            ],
        }


def _conflicts(study: Study) -> list[Document]:
    return [_described(study, union) for union in study.unions.conflicts()]


def _place(study: Study, key: SliceKey) -> Document:
    case = study.case(key.case_id)
    return {
        "case": case.name,
        "axis": case.geometry.file_axes[key.axis],
        "slice": case.geometry.file_index(key.axis, key.index),
    }


def _described(study: Study, union: Union) -> Document:
    return {
        **_place(study, union.key),
        "accepted": [
            {"by": one.author, "at": one.created_at.isoformat()} for one in union.opinions
        ],
    }
