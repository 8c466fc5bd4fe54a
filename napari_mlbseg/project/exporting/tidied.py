"""The labels of a case as they are exported: as tidy as the classes of the study are said to be."""

from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.exporting.chosen import AcceptedLabels, Chosen, OnlyChosen
from napari_mlbseg.project.exporting.kinds import ExportKind
from napari_mlbseg.project.exporting.outputs import ARRAYS
from napari_mlbseg.project.exporting.voxels import Windowed
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.study import Study
from napari_mlbseg.project.tidying.persons import PersonsSlices
from napari_mlbseg.project.tidying.told import Tidied
from napari_mlbseg.volume import Geometry

TIDY_KINDS: Final = (ExportKind.LABELS, ExportKind.PREDICTION)
"""What is tidied; tables of volumes count the voxels of the former."""


def voxel_mm3(geometry: Geometry) -> float:
    """Volume of a voxel: that of the box that its three steps span."""
    return float(abs(np.linalg.det(np.asarray(geometry.affine)[:3, :3])))


def exported_labels(study: Study, case: Case) -> NDArray[np.uint8]:
    """The labels of a case (z y x) as they are exported, tidied."""
    labels, _ = tidy_labels(study, case)
    return np.asarray(labels[slice(None), slice(None), slice(None)], np.uint8)


def tidy_labels(
    study: Study, case: Case, array: ArrayName | None = None
) -> tuple[Windowed, Tidied | None]:
    """The labels on view, or those of an array, tidied; and what was done, if a class asks for it.

    They are read once, and stay as they were then while a training goes on.
    """
    classes = {c.value: c for c in study.classes if c.is_tidied}
    persons, labels = _working(study, case) if array is None else _stored(study, case, array)
    if not classes:
        return labels, None
    # Imported here, so that studies without such classes do not wait for scikit-image.
    from napari_mlbseg.project.tidying.tidy import tidied_windows

    return tidied_windows(
        labels,
        classes,
        persons=persons,
        voxel_mm3=voxel_mm3(case.geometry),
        axis=case.axis,
    )


def labels_of(
    study: Study, case: Case, kind: ExportKind, chosen: Chosen | None = None
) -> tuple[Windowed, Tidied | None]:
    """The labels of a case as an export of this kind writes them; and what was tidied.

    Voxels outside of accepted or chosen slices are `NO_LABEL`.
    """
    array = next(iter(ARRAYS[kind]), None)
    labels, tidied = _whole(study, case, kind, array)
    return (labels if chosen is None else OnlyChosen(labels, chosen)), tidied


def _whole(
    study: Study, case: Case, kind: ExportKind, array: ArrayName | None
) -> tuple[Windowed, Tidied | None]:
    if kind is ExportKind.ACCEPTED:
        return AcceptedLabels(study, case), None
    if kind in TIDY_KINDS:
        return tidy_labels(study, case, array)
    assert array is not None, "only labels on view and accepted ones are in no array"
    return cast(Windowed, study.arrays.open(case.id, array)), None


def _working(study: Study, case: Case) -> tuple[PersonsSlices, Windowed]:
    labels = study.labels.windows(case.id)
    slices = [(r.key.axis, r.key.index, r.state) for r in labels.human]
    return PersonsSlices(case.geometry.shape, slices), labels


def _stored(study: Study, case: Case, array: ArrayName) -> tuple[None, Windowed]:
    if array is ArrayName.PREDICTION:
        return None, study.labels.prediction_windows(case.id)
    return None, cast(Windowed, study.arrays.open(case.id, array))
