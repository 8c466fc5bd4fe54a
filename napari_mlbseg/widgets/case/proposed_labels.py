"""Labels that the clean slices vote for, where they object to the prediction."""

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.widgets.case.stored import CaseArrays


def with_proposals(
    arrays: CaseArrays, shown: NDArray[np.uint8], axis: int, index: int, below: float
) -> NDArray[np.uint8]:
    """A slice as it is `shown`, with the label voted for where trust is below a share (0 to 1).

    Trust is about the prediction: what a person painted over it is not what is doubted, and stays.
    """
    trust, votes = arrays[ArrayName.TRUST], arrays[ArrayName.PROPOSED_LABELS]
    if not (trust.there and votes.there):
        raise UserError(
            "There are no proposals yet. The training makes them: accept a few slices, start it, "
            "and wait until the slice has been predicted."
        )
    doubted = shown == arrays[ArrayName.PREDICTION].slice(axis, index)
    doubted &= trust.slice(axis, index) < below
    return np.where(doubted, votes.slice(axis, index), shown)
