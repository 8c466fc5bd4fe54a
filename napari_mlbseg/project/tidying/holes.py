"""FoundHoles of classes: background that a class encloses in 3-D.

Background hangs together by faces alone, so a wall of voxels that touch by edges or corners has no
gap. A hole belongs to the innermost class around it: the necrosis of a tumour in a liver is the
tumour's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.records.cases import LabelClass
from napari_mlbseg.project.tidying.components import (
    Components,
    components_in,
    in_order,
    joined,
    numbered,
)
from napari_mlbseg.project.tidying.looking import Looking
from napari_mlbseg.project.tidying.persons import FREE

_NONE: Final = 0


@dataclass(frozen=True)
class FoundHoles:
    """The components of a volume, and for each the class that it is a hole of; 0 for others."""

    components: Components
    of_class: NDArray[np.int64]


def fill_holes(looking: Looking, classes: Mapping[int, LabelClass]) -> FoundHoles:
    """Fill the holes of the classes that have none, except for a person's voxels.

    A hole that a clean slice shows stays: a person saw it.
    """
    found = components_in(looking.look, looking.slabs, corners=False)
    holes = FoundHoles(found, _innermost_around(found, classes))
    fills = np.where((found.seen > 0) | (found.free == 0), _NONE, holes.of_class)
    for number in range(looking.slabs):
        filled = fills[found.in_slab(number)]
        if filled.any():
            labels, whose = looking.look(number)
            ids, _ = numbered(labels, corners=False)
            values = filled[ids]
            where = (values != _NONE) & (whose == FREE)
            looking.change(number, where, values[where])
    return holes


def _innermost_around(found: Components, classes: Mapping[int, LabelClass]) -> NDArray[np.int64]:
    """For each component of background that a class encloses the innermost such class.

    Only classes that have no holes are told, but others enclose as well.
    """
    innermost = np.full(len(found), _NONE)
    inside = (found.value == 0) & ~found.border
    if not inside.any():
        return innermost
    begins = np.full(len(found), -1)
    for value in np.unique(found.value[found.value != 0]).tolist():
        around, start = _enclosed_by(found, value)
        closer = inside & around & (start > begins)
        innermost[closer], begins[closer] = value, start[closer]
    whole = [value for value, one in classes.items() if one.no_holes]
    return np.where(np.isin(innermost, whole), innermost, _NONE)


def _enclosed_by(found: Components, value: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which components a class encloses, and the first component of the space around each.

    Of two classes that enclose a component the inner one's space begins later.
    """
    one, other = found.touching.T
    through = (found.value[one] != value) & (found.value[other] != value)
    space = in_order(joined(len(found), found.touching[through]))
    _, first = np.unique(space, return_index=True)
    outside = np.zeros(len(first), bool)
    outside[space[found.border]] = True
    return ~outside[space] & (found.value != value), first[space]
