"""The slices of the case on view that were never looked at, cached to avoid disk access."""

import numpy as np

from napari_mlbseg.project.records.coverage import looked_at
from napari_mlbseg.project.records.extents import Certified
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study


class Unseen:
    """Finds the slices again if another case or axis is on view, or if what is known changed.

    Known are the clean slices and those that are certified empty.
    """

    def __init__(self) -> None:
        self._clean: tuple[SliceKey, ...] = ()
        self._certified: Certified = {}
        self._of: tuple[Study, str, int] | None = None
        self._found: frozenset[int] = frozenset()
        self._fresh = False

    def forget(self) -> None:
        """Check what is known next time, because a slice or an extent changed."""
        self._fresh = False

    def slices_of(self, study: Study, case_id: str, axis: int) -> frozenset[int]:
        """Return the indices of the slices along an axis."""
        of = study, case_id, axis
        if self._fresh and of == self._of:
            return self._found
        clean, certified = study.slices.clean(), study.extents.certified()
        if of != self._of or clean != self._clean or not _same(certified, self._certified):
            case, cases = study.case(case_id), study.cases
            near = looked_at(case, cases, clean, axis, certified=certified)
            self._found = frozenset(np.flatnonzero(~near).tolist())
        self._of, self._clean, self._certified, self._fresh = of, clean, certified, True
        return self._found


def _same(a: Certified, b: Certified) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[where], b[where]) for where in a)
