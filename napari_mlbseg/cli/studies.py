"""The commands about a study, as functions that return plain documents.

Axes and indices are those of the file's array, as in every command.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_mlbseg.cli.extents import extents_of, not_corrected, unknown_ends
from napari_mlbseg.cli.output import damage_notes
from napari_mlbseg.cli.progress import counting
from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.grids import on_grid_of
from napari_mlbseg.formats.registry import Choice, open_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.importing.case_files import FOUND_OUT, CaseFiles, Pairing
from napari_mlbseg.project.importing.cohort import make_study
from napari_mlbseg.project.importing.layout import find_cases
from napari_mlbseg.project.importing.numbering import Numbering
from napari_mlbseg.project.importing.rules import NO_RULES, Rules
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Volume

Document = Mapping[str, Any]


def init(
    path: Path,
    images: Path,
    labels: Path | None,
    classes: str | None,
    choice: Choice,
    rules: Rules,
    pairing: Pairing = FOUND_OUT,
    *,
    only_approved: bool = False,
) -> Document:
    """Make a study of all sound files; nothing is left behind where there are none."""
    with counting() as progress:
        study, imported = make_study(
            *(path, images, labels, classes),
            pairing=pairing,
            choice=choice,
            progress=progress,
            rules=rules,
        )
    with study:
        study.reviews.let_teach(only_approved=only_approved)
        return {
            **_describe(study),
            "failures": [{"path": str(f.path), "reason": f.reason} for f in imported.failures],
            "notes": [{"path": str(n.path), "note": n.reason} for n in imported.notes],
        }


def info(path: Path) -> Document:
    """Describe a study; works while somebody annotates it."""
    with Study.open(path, writable=False) as study:
        return _describe(study)


def classes(path: Path, rules: Rules) -> Document:
    """Change what is said of the classes of a study, if anything is, and describe them."""
    with Study.open(path, writable=rules != NO_RULES) as study:
        if rules != NO_RULES:
            study.set_classes(rules.applied(study.classes))
        return {"study": str(study.path), "classes": described_classes(study)}


def accept(path: Path, name: str, slices: str, labels: Path, file_axis: int | None) -> Document:
    """Make slices clean with the labels of a file; all of them or none."""
    with Study.open(path) as study:
        case = study.named(name)
        files = CaseFiles(case.id, case.image_path, labels)
        numbering = Numbering.of([files], study.classes, case.source.choice.of_image)
        choice = numbering.choice_of(files, case.source.choice.of_image)
        found = open_labels(labels, choice)
        aligned = on_grid_of(found, case.geometry, labels, case.image_path, case.source)
        volume = aligned.volume()
        _check_classes(volume, study, labels)
        axis, indices = slices_of(case, slices, file_axis)
        for index in indices:
            key = SliceKey(case.id, axis, index)
            study.save_slice(key, volume.voxels.take(index, axis=axis), SliceState.CLEAN)
        return {
            "study": str(study.path),
            "case": case.name,
            "axis": case.geometry.file_axes[axis],
            "slices": [case.geometry.file_index(axis, index) for index in indices],
            "clean_slices": len(study.slices.clean()),
            "notes": [*aligned.notes, *aligned.found_later()],
        }


def planned(images: Path, labels: Path | None, pairing: Pairing) -> Document:
    """The cases that an import would make of folders; nothing is read or made."""
    layout = find_cases(images, labels, pairing)
    return {
        "cases": [
            {
                "id": case.id,
                "image": str(case.image),
                "labels": None if case.labels is None else str(case.labels),
                **_planned_channels(layout.channels, case),
                "structures": [name for _, name in case.masks],
            }
            for case in layout.cases
        ],
        "failures": [{"path": str(f.path), "reason": f.reason} for f in layout.failures],
        "notes": [{"path": str(n.path), "note": n.reason} for n in layout.notes],
    }


def _planned_channels(names: Sequence[str], case: CaseFiles) -> Document:
    """The files of the channels of a case, if there are several; None for one that is filled."""
    if not names:
        return {}
    files = [case.image, *(None if one is None else one.path for one in case.further)]
    each = (None if file is None else str(file) for file in files)
    return {"channels": dict(zip(names, each, strict=True))}


def slices_of(case: Case, slices: str, file_axis: int | None) -> tuple[int, list[int]]:
    """The display axis and the indices along it that a text names, in the file's order."""
    geometry = case.geometry
    if file_axis is None:
        file_axis = geometry.file_axes[case.axis]
    found = parse_slices(slices, geometry.file_shape[file_axis])
    axis = geometry.display_axis(file_axis)
    return axis, [geometry.display_index(file_axis, index) for index in found]


def parse_slices(text: str, size: int) -> list[int]:
    """Sorted indices from ``10,44`` and from ranges with both ends, ``10-20`` or ``10-20:2``.

    >>> parse_slices("2,10-20:5", size=44)
    [2, 10, 15, 20]
    """
    indices: set[int] = set()
    for part in text.split(","):
        span, _, step = part.strip().partition(":")
        first, dash, last = span.partition("-")
        numbers = [first, *([last] if dash else []), *([step] if ":" in part else [])]
        if not all(n.isascii() and n.isdigit() for n in numbers) or (step and int(step) == 0):
            raise UserError(f"{part.strip()!r} is not a slice; write 10,44 or 10-20 or 10-20:2.")
        indices.update(range(int(first), int(last if dash else first) + 1, int(step or 1)))
    outside = [index for index in indices if index >= size]
    if outside or not indices:
        raise UserError(f"Slices {text} are not all within 0 to {size - 1} of that axis.")
    return sorted(indices)


def _check_classes(volume: Volume, study: Study, path: Path) -> None:
    known = {0, *(c.value for c in study.classes)}
    unknown = sorted(set(np.unique(volume.voxels).tolist()) - known)
    if unknown:
        raise UserError(
            f"{path} has labels {', '.join(map(str, unknown))}; "
            f"the study has {', '.join(map(str, sorted(known)))}."
        )


def _describe(study: Study) -> Document:
    damage_notes(study.damage())
    return {
        "study": str(study.path),
        "name": study.name,
        "damage": list(study.damage()),
        "classes": described_classes(study),
        "only_approved": study.reviews.only_approved,
        "channels": list(study.channels),
        "cases": [_describe_case(study, case) for case in study.cases],
        "removed_cases": [case.name for case in study.changes.removed],
        "not_corrected": not_corrected(study),
        "runs": [
            {
                "id": run.id,
                "started_at": run.started_at.isoformat(),
                "finished_at": None if run.finished_at is None else run.finished_at.isoformat(),
                "outcome": run.outcome,
                "device": run.device,
                "seed": run.seed,
            }
            for run in study.runs.all()
        ],
    }


def described_classes(study: Study) -> list[Document]:
    """The classes with what is said of them."""
    return [
        {
            "value": c.value,
            "name": c.name,
            "color": list(c.color),
            "most_pieces": c.most_pieces,
            "no_holes": c.no_holes,
        }
        for c in study.classes
    ]


def _describe_case(study: Study, case: Case) -> Document:
    geometry = case.geometry
    records = study.slices.records(case.id)
    counts = Counter(record.state for record in records)
    return {
        "id": case.id,
        "name": case.name,
        "image": str(case.image_path),
        "labels": None if case.labels_path is None else str(case.labels_path),
        "shape": list(geometry.file_shape),
        "spacing_mm": [geometry.spacing_mm[geometry.display_axis(a)] for a in range(3)],
        "axis": geometry.file_axes[case.axis],
        "slices": {s.value: counts[s] for s in SliceState if s is not SliceState.UNTOUCHED},
        "clean": [
            {"axis": geometry.file_axes[r.key.axis], "slice": _file_index(case, r.key)}
            for r in records
            if r.state is SliceState.CLEAN
        ],
        "to_review": sum(record.to_review for record in records),
        "approved": sum(record.approved for record in records),
        "returned": sum(record.returned for record in records),
        "extents": extents_of(study, case),
        "ends_unknown": unknown_ends(study, case),
        "arrays": [name.value for name in ArrayName if study.arrays.has(case.id, name)],
    }


def _file_index(case: Case, key: SliceKey) -> int:
    return case.geometry.file_index(key.axis, key.index)
