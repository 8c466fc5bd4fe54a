"""What corrections cost the annotator: millimetres of contour to draw, and clicks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from skimage.measure import find_contours

from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.annotator import Truth


@dataclass(frozen=True)
class Effort:
    """What an annotator did until now.

    Attributes
    ----------
    contour_mm
        Length of the contours drawn; None if it is not known what was shown before.
    clicks
        One for each accepted slice, and one for each end of a structure that was marked.
    """

    contour_mm: float | None = 0.0
    clicks: int = 0


def contour_to_draw_mm(
    true: NDArray[np.uint8], shown: NDArray[np.uint8], spacing_mm: Sequence[float]
) -> float:
    """Length of the contours of true labels (y x) that do not lie on contours of the shown ones.

    The added path length (Vaassen et al. 2020, doi:10.1016/j.phro.2019.12.001) of all classes, with
    contours as polygons: a piece of contour lies on another contour within a pixel of it. What is
    only to be erased costs nothing.

    >>> square = np.zeros((12, 12), np.uint8)
    >>> square[2:10, 2:10] = 1
    >>> round(contour_to_draw_mm(square, 0 * square, (1.0, 1.0)))
    31
    >>> contour_to_draw_mm(square, square, (1.0, 1.0))
    0.0
    """
    length_mm = 0.0
    for value in np.setdiff1d(true, 0):
        middles, lengths = _pieces(true == value, spacing_mm)
        known, _ = _pieces(shown == value, spacing_mm)
        if len(known):
            lengths = lengths[KDTree(known).query(middles)[0] > max(spacing_mm)]
        length_mm += float(lengths.sum())
    return length_mm


def contours_to_draw_mm(study: Study, truth: Truth, keys: Iterable[SliceKey]) -> float:
    """The same of some slices of a study, which shows its current labels."""
    length_mm = 0.0
    for case_id, of_case in groupby(sorted(keys), key=lambda key: key.case_id):
        case = study.case(case_id)
        true, shown = truth.volume(case_id), study.labels.working(case_id)
        for key in of_case:
            spacing_mm = [mm for k, mm in enumerate(case.geometry.spacing_mm) if k != key.axis]
            at = plane(key.axis, key.index)
            length_mm += contour_to_draw_mm(true[at], shown[at], spacing_mm)
    return length_mm


def ends_to_click(cases: Iterable[Case], classes: Sequence[LabelClass], truth: Truth) -> int:
    """How many clicks mark the first and the last slice of every class in every case."""
    values = {one.value for one in classes}
    return sum(2 * len(values & set(np.unique(truth.volume(c.id)).tolist())) for c in cases)


def _pieces(
    mask: NDArray[np.bool_], spacing_mm: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middles (mm, pieces y x) and lengths (mm) of the straight pieces of a mask's contours."""
    found: list[NDArray[np.float64]] = find_contours(  # type: ignore[no-untyped-call]
        np.pad(mask, 1).astype(np.float64), 0.5
    )
    contours = [line * np.asarray(spacing_mm) for line in found]
    if not contours:
        return np.empty((0, 2)), np.empty(0)
    middles = np.concatenate([(c[1:] + c[:-1]) / 2 for c in contours])
    lengths = np.concatenate([np.linalg.norm(np.diff(c, axis=0), axis=1) for c in contours])
    return middles, lengths
