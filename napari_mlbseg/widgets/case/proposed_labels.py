"""Proposed labels: what the clean slices ask for where trust in the prediction is low."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.widgets.case.stored import CaseArrays

NONE_PROPOSED: Final = (
    "There are no proposed labels yet. The training makes them: accept a few slices, press Start, "
    "and wait until this slice has been predicted."
)


def with_proposed_labels(
    arrays: CaseArrays, shown: NDArray[np.uint8], axis: int, index: int, below: float
) -> NDArray[np.uint8]:
    """Return a slice as `shown`, with proposed labels where trust is below a threshold (0 to 1).

    Trust rates the prediction: labels that a person painted over it stay.

    Raises
    ------
    UserError
        If the training has not made proposed labels yet.
    """
    trust, proposed = arrays[ArrayName.TRUST], arrays[ArrayName.PROPOSED_LABELS]
    if not (trust.there and proposed.there):
        raise UserError(NONE_PROPOSED)
    doubted = shown == arrays[ArrayName.PREDICTION].slice(axis, index)
    doubted &= trust.slice(axis, index) < below
    return np.where(doubted, proposed.slice(axis, index), shown)
