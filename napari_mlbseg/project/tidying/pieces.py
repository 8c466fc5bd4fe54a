"""Pieces of classes that are more than a class has: which of them stay.

A piece is a connected component of a class; voxels touch by a face, an edge or a corner. Thin parts
of a structure often hang together by edges alone, all the more where slices are thick, and what
touches is better kept than torn off.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.tidying.components import (
    Components,
    Looked,
    components_in,
    numbered,
)
from napari_mlbseg.project.tidying.looking import Looking
from napari_mlbseg.project.tidying.persons import FREE


def remove_pieces(looking: Looking, classes: Mapping[int, LabelClass]) -> Components:
    """Remove the pieces that are too many, except for a person's voxels.

    Returns the pieces as they were; `stays` tells which of them stay.
    """
    limited = np.zeros(256, bool)
    limited[[value for value, c in classes.items() if c.most_pieces is not None]] = True

    def look(number: int) -> Looked:
        labels, whose = looking.look(number)
        return np.where(limited[labels], labels, 0), whose

    found = components_in(look, looking.slabs, corners=True)
    goes = (found.value != 0) & ~stays(found, classes) & (found.free > 0)
    for number in range(looking.slabs):
        gone = goes[found.in_slab(number)]
        if gone.any():
            labels, whose = look(number)
            ids, _ = numbered(labels, corners=True)
            looking.change(number, gone[ids] & (whose == FREE), 0)
    return found


def stays(found: Components, classes: Mapping[int, LabelClass]) -> NDArray[np.bool_]:
    """Whether each piece stays: the largest of its class do, and all that a clean slice shows.

    Of pieces of one size, those that begin first stay. The largest stay even if no clean slice
    shows them: a clean slice that touches nothing must not cost a structure its body.
    """
    size, kept = found.free + found.edited + found.seen, found.seen > 0
    for value, one in classes.items():
        (own,) = np.nonzero(found.value == value)
        largest = own[np.argsort(-size[own], kind="stable")]
        kept[largest[: one.most_pieces]] = True
    return kept
