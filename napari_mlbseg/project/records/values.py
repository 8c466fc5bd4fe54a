"""Which values a mask holds, and which it may hold before it becomes clean."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.records.cases import LabelClass


def values_in(mask: NDArray[np.uint8]) -> frozenset[int]:
    """The values that a mask (rows, columns) holds, the background included."""
    return frozenset(np.flatnonzero(np.bincount(mask.ravel())).tolist())


def require_classes(mask: NDArray[np.uint8], classes: Sequence[LabelClass], what: str) -> None:
    """Raise UserError that names the pixels if a mask (rows, columns) holds unknown values.

    `what` names the slice, at the beginning of a sentence. A study that has no classes yet accepts
    every mask.
    """
    if not classes:
        return
    known = [0, *(c.value for c in classes)]
    wrong = np.argwhere(~np.isin(mask, known))
    if len(wrong) == 0:
        return
    row, column = (int(n) for n in wrong[0])
    value = int(mask[row, column])
    count = "1 pixel" if len(wrong) == 1 else f"{len(wrong)} pixels"
    raise UserError(
        f"{what} cannot become clean: {count} of it, the first at row "
        f"{row}, column {column} with the value {value}, belong to no class of the study. Paint "
        "them with one of its classes, or add the class."
    )
