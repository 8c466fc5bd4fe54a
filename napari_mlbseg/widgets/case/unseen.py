"""The slices of the case on view that were never looked at, cached to avoid disk access."""

import numpy as np

from napari_mlbseg.project.records.coverage import looked_at
from napari_mlbseg.project.records.slices import SliceKey
from napari_mlbseg.project.study import Study


class Unseen:
    """Finds the slices again if another case or axis is on view, or the clean slices changed."""

    def __init__(self) -> None:
        self._clean: tuple[SliceKey, ...] = ()
        self._of: tuple[Study, str, int] | None = None
        self._found: frozenset[int] = frozenset()
        self._fresh = False

    def forget(self) -> None:
        """Check the clean slices next time, because a slice changed."""
        self._fresh = False

    def slices_of(self, study: Study, case_id: str, axis: int) -> frozenset[int]:
        """Return the indices of the slices along an axis."""
        of = study, case_id, axis
        if self._fresh and of == self._of:
            return self._found
        clean = study.slices.clean()
        if clean != self._clean or of != self._of:
            near = looked_at(study.case(case_id), study.cases, clean, axis)
            self._found = frozenset(np.flatnonzero(~near).tolist())
        self._of, self._clean, self._fresh = of, clean, True
        return self._found
