"""The simulated annotator, who knows the true labels and reveals them slice by slice."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.grids import on_grid_of
from napari_mlbseg.formats.registry import Choice, open_labels
from napari_mlbseg.project.importing.failures import shortened
from napari_mlbseg.project.importing.layout import labels_for
from napari_mlbseg.project.importing.numbering import Numbering
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.extents import Extent
from napari_mlbseg.project.records.slices import SliceKey, SliceState
from napari_mlbseg.project.study import Study


class Truth:
    """The true labels of cases, read from a folder of files named like their images.

    Raises UserError if a case has no file, or if a file does not fit its image.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self._cases = {case.id: case for case in study.cases}
        self._known = {0, *(c.value for c in study.classes)}
        self._files = labels_for([case.id for case in study.cases], folder)
        lacking = [case.id for case in study.cases if case.id not in self._files]
        if lacking:
            raise UserError(
                f"{folder} holds no true labels for {shortened(lacking)}. Add a file for each, "
                "named like its image."
            )
        self._numbering = Numbering.of(list(self._files.values()), study.classes, Choice())

    def volume(self, case_id: str) -> NDArray[np.uint8]:
        """The true labels of a case, z y x."""
        files, case = self._files[case_id], self._cases[case_id]
        path = files.labels or files.image
        found = open_labels(path, self._numbering.choice_of(files, case.source.choice.of_image))
        scan = on_grid_of(found, case.geometry, path, case.image_path, case.source)
        labels = np.asarray(scan.volume().voxels, dtype=np.uint8)
        unknown = sorted(set(np.unique(labels).tolist()) - self._known)
        if unknown:
            raise UserError(
                f"{path} has labels {', '.join(map(str, unknown))}; the study has "
                f"{', '.join(map(str, sorted(self._known)))}. Add the class to the study."
            )
        return labels

    def mask(self, key: SliceKey) -> NDArray[np.uint8]:
        """The true mask of a slice."""
        return np.ascontiguousarray(self.volume(key.case_id).take(key.index, axis=key.axis))


def correct(study: Study, truth: Truth, keys: Iterable[SliceKey]) -> None:
    """Accept slices with their true masks, in the same way as a person."""
    for key in keys:
        study.save_slice(key, truth.mask(key), SliceState.CLEAN)


def mark_ends(study: Study, truth: Truth) -> None:
    """Mark the first and the last slice of every class in every case, as a person would.

    Classes that a case does not show are left unmarked.
    """
    for case in study.cases:
        labels = truth.volume(case.id)
        across = tuple(k for k in range(3) if k != case.axis)
        for one in study.classes:
            shown = np.flatnonzero((labels == one.value).any(axis=across))
            if len(shown):
                extent = Extent(int(shown[0]), int(shown[-1]))
                study.extents.mark(case.id, case.axis, one.value, extent)


def take(
    proposed: Sequence[SliceKey], count: int, *, truth: Truth, missing: frozenset[int]
) -> list[SliceKey]:
    """The first `count` of the slices, chosen so that every `missing` class is shown.

    No training can start before each class has been shown. An annotator sees what a slice shows
    before correcting it, and passes over it if it would leave too few slices for the classes that
    are still missing.
    """
    taken: list[SliceKey] = []
    passed_over: list[SliceKey] = []
    for key in proposed:
        left = count - len(taken)
        if left == 0:
            break
        if missing:
            still = missing - set(np.unique(truth.mask(key)).tolist())
            if left - 1 < len(still):
                passed_over.append(key)
                continue
            missing = still
        taken.append(key)
    taken += passed_over[: count - len(taken)]
    if missing or len(taken) < count:
        raise UserError(
            f"{count} slices that show every class were needed, but only {len(taken)} were found. "
            "Choose another budget, or remove a class that no case shows."
        )
    return taken


def cohort_slices(cases: Sequence[Case]) -> list[SliceKey]:
    """Every slice of every case along the axis on which it is annotated."""
    return [
        SliceKey(case.id, case.axis, index)
        for case in cases
        for index in range(case.geometry.shape[case.axis])
    ]
