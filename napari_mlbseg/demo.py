"""The whole workflow on a phantom cohort: rough labels, a few corrected slices, a run, a picture.

The true labels stand in for the annotator: a few of their slices are accepted, and the rest
measures how far the run improved the rough labels.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.engine.config import Config
from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import read_labels
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.export import ExportKind, export_study
from napari_mlbseg.project.importing.cohort import import_folder
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.palette import color_of
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study
from napari_mlbseg.samples import make_phantom_cohort

CONFIG = Config(base_steps=400, steps=200, minutes=8)
CASES = 4
CLEAN_SLICES_PER_CASE = 3

_CLASSES = {1: "organ", 2: "lesion"}
_STUDY = "demo.mlbseg"
_COHORT = "cohort"
_EXPORTED = "exported"
_PICTURE = "before_after.png"
_SUMMARY = "summary.json"


def saved_summary(folder: Path) -> dict[str, Any] | None:
    """The summary that `report` wrote into this folder, or None."""
    try:
        summary: dict[str, Any] = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return summary


def prepare(folder: Path) -> Path:
    """Make the cohort and a study with a few accepted slices; returns the path of the study.

    An unfinished earlier demo is replaced; a folder with other files is refused.
    """
    ours = {_STUDY, _COHORT, _EXPORTED, _PICTURE, _SUMMARY}
    if folder.exists():
        foreign = {path.name for path in folder.iterdir()} - ours
        if foreign:
            raise UserError(
                f"{folder} holds other files ({', '.join(sorted(foreign)[:3])}). "
                "Name a new or an empty folder for the demo."
            )
        for name in (_STUDY, _COHORT, _EXPORTED):
            shutil.rmtree(folder / name, ignore_errors=True)
    cohort = make_phantom_cohort(folder / _COHORT, cases=CASES, seed=0)
    with Study.create(folder / _STUDY, author="demo") as study:
        study.set_classes([LabelClass(v, name, color_of(v)) for v, name in _CLASSES.items()])
        import_folder(study, cohort.images, cohort.labels)
        for case in study.cases:
            _accept_some(study, case, _truth(cohort.truth, case))
        return study.path


def report(folder: Path, ran: Mapping[str, Any]) -> dict[str, Any]:
    """Export, measure, draw, and save the summary; `ran` describes the run."""
    with Study.open(folder / _STUDY, writable=False) as study:
        export_study(study, folder / _EXPORTED, ExportKind.LABELS)
        found = [_compare(study, case, folder) for case in study.cases]
        values = {c.value: c.name for c in study.classes}
        clean = study.slices.clean()
        _draw(study, found, folder / _PICTURE)
        summary = {
            **ran,
            "clean_slices": len(clean),
            "all_slices": sum(case.geometry.shape[case.axis] for case in study.cases),
            "dice_before": _dice_table([(f.before, f.truth) for f in found], values),
            "dice_after": _dice_table([(f.after, f.truth) for f in found], values),
            "files": {
                "study": str(study.path),
                "exported labels": str(folder / _EXPORTED),
                "picture": str(folder / _PICTURE),
            },
        }
    (folder / _SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


@dataclass(frozen=True)
class _Comparison:
    """One case along its annotation axis: arrays (slices, rows, columns), clean slices left out.

    `indices` are the display indices of the remaining slices.
    """

    case: Case
    indices: list[int]
    truth: NDArray[np.uint8]
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


def _truth(folder: Path, case: Case) -> NDArray[np.uint8]:
    voxels: NDArray[np.uint8] = read_labels(folder / case.image_path.name)[0].voxels
    return voxels


def _accept_some(study: Study, case: Case, truth: NDArray[np.uint8]) -> None:
    along = np.moveaxis(truth, case.axis, 0)
    shown = np.flatnonzero(along.any(axis=(1, 2)))
    # Evenly within the extent of the structures, away from its ends.
    quantiles = (np.arange(CLEAN_SLICES_PER_CASE) + 0.5) / CLEAN_SLICES_PER_CASE
    for index in np.unique(np.quantile(shown, quantiles, method="nearest")).tolist():
        key = SliceKey(case.id, case.axis, index)
        study.save_slice(key, along[index], SliceState.CLEAN)


def _compare(study: Study, case: Case, folder: Path) -> _Comparison:
    clean = {k.index for k in study.slices.clean() if (k.case_id, k.axis) == (case.id, case.axis)}
    indices = [i for i in range(case.geometry.shape[case.axis]) if i not in clean]
    initial = np.asarray(study.arrays.open(case.id, ArrayName.INITIAL_LABELS)[:])
    truth = _truth(folder / _COHORT / "truth", case)
    volumes = [truth, initial, study.labels.machine(case.id)]
    kept = [np.moveaxis(volume, case.axis, 0)[indices] for volume in volumes]
    return _Comparison(case, indices, *kept)


def _dice(labels: NDArray[np.uint8], truth: NDArray[np.uint8], value: int) -> float:
    ours, theirs = labels == value, truth == value
    total = int(ours.sum() + theirs.sum())
    return 1.0 if total == 0 else 2.0 * int((ours & theirs).sum()) / total


def _dice_table(
    pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], names: Mapping[int, str]
) -> dict[str, float]:
    table = {
        name: float(np.mean([_dice(labels, truth, value) for labels, truth in pairs]))
        for value, name in names.items()
    }
    return {**table, "mean": float(np.mean(list(table.values())))}


def _draw(study: Study, found: list[_Comparison], path: Path) -> None:
    """One row per case with its most changed slice: before, after, and both weight maps."""
    # Not pyplot: it would choose a backend for the whole process.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.2 * len(found)), layout="constrained")
    rows = figure.subplots(len(found), 4, squeeze=False)
    mappable = None
    for row, one in zip(rows, found, strict=True):
        changed = (one.before != one.after).sum(axis=(1, 2))
        k = int(np.argmax(changed))
        axis, index = one.case.axis, one.indices[k]
        image = study.arrays.read(one.case.id, ArrayName.IMAGE, axis, index)
        row[0].set_ylabel(f"{one.case.id}, slice {index}")
        for place, labels, name in ((row[0], one.before, "rough"), (row[1], one.after, "after")):
            place.set_title(f"{name}, Dice {_slice_dice(labels[k], one.truth[k]):.2f}")
            _draw_labels(place, image, labels[k], one.truth[k], study.classes)
        for place, name in (
            (row[2], ArrayName.META_WEIGHTS_INITIAL),
            (row[3], ArrayName.META_WEIGHTS_PSEUDO),
        ):
            place.set_title(name.value.replace("_", " "))
            if study.arrays.has(one.case.id, name):
                weights = study.arrays.read(one.case.id, name, axis, index).astype(np.float32)
                mappable = place.imshow(weights, cmap="magma", vmin=0.0, vmax=3.0)
        for place in row:
            place.set(xticks=[], yticks=[])
    if mappable is not None:
        figure.colorbar(mappable, ax=rows[:, 2:], shrink=0.6, label="times the uniform weight")
    figure.suptitle("Filled: labels; lines: truth. None of these slices was corrected.")
    figure.savefig(path, dpi=100)


def _slice_dice(labels: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    values = [int(v) for v in np.union1d(labels, truth) if v]
    return float(np.mean([_dice(labels, truth, v) for v in values])) if values else 1.0


def _draw_labels(
    place: Any,
    image: NDArray[Any],
    labels: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    classes: Sequence[LabelClass],
) -> None:
    place.imshow(image, cmap="gray")
    overlay = np.zeros((*labels.shape, 4))
    for one in classes:
        overlay[labels == one.value] = [*(part / 255 for part in one.color), 0.5]
        if (truth == one.value).any():
            place.contour(truth == one.value, levels=[0.5], colors="white", linewidths=1.0)
    place.imshow(overlay, interpolation="nearest")
