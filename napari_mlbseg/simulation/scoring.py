"""How good the labels of a study are, for each class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.exporting.tidied import exported_labels
from napari_mlbseg.project.records.cases import Case, LabelClass
from napari_mlbseg.project.study import Study
from napari_mlbseg.simulation.metrics import Scores, dice, largest_piece, mean_scores, score

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Measured:
    """Means of one class over the cases that show it.

    `dice_in_one_piece` is the Dice with only the largest piece of the class in every case.
    """

    mean: Scores
    dice_in_one_piece: float


def exported(study: Study, case_id: str) -> Labels:
    """The labels of a case (z y x) as they would be exported now."""
    return exported_labels(study, study.case(case_id))


def measured(
    cases: Sequence[Case],
    classes: Sequence[LabelClass],
    found: Callable[[str], Labels],
    truth: Callable[[str], Labels],
) -> dict[int, Measured]:
    """The scores of every class that a case shows, by its value.

    `found` and `truth` return the labels of a case (z y x).
    """
    scores: dict[int, list[Scores | None]] = {one.value: [] for one in classes}
    in_one_piece: dict[int, list[float | None]] = {one.value: [] for one in classes}
    for case in cases:
        labels, true = found(case.id), truth(case.id)
        for value in scores:
            ours, theirs = labels == value, true == value
            scores[value].append(score(ours, theirs, case.geometry.spacing_mm))
            in_one_piece[value].append(dice(largest_piece(ours), theirs))
    return {
        value: Measured(mean, fmean(d for d in in_one_piece[value] if d is not None))
        for value, each in scores.items()
        if (mean := mean_scores(each)) is not None
    }
