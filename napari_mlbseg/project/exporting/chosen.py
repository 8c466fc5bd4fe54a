"""Labels of some slices only: those that a person accepted, or those that somebody chose."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.exporting.voxels import Windowed
from napari_mlbseg.project.labels import Window, laid_over
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.study import Study

NO_LABEL: Final = 255
"""Stands in files for voxels of which an export says nothing; no class has this value."""


@dataclass(frozen=True)
class Chosen:
    """Some slices of a case: a display axis, and indices along it."""

    axis: int
    indices: tuple[int, ...]


class AcceptedLabels:
    """The masks of the slices of a case that teach, read window by window; else `NO_LABEL`."""

    dtype = np.dtype(np.uint8)

    def __init__(self, study: Study, case: Case) -> None:
        self.shape = case.geometry.shape
        self._slices = study.slices
        accepted = study.slices.teaching(case.id)
        self._revisions = {(r.key.axis, r.key.index): r.revision for r in accepted}

    def __getitem__(self, window: Window) -> NDArray[np.uint8]:
        """A fresh copy of a window."""
        bounds = [part.indices(n) for part, n in zip(window, self.shape, strict=True)]
        z, y, x = (slice(start, max(start, stop)) for start, stop, _ in bounds)
        sides = [part.stop - part.start for part in (z, y, x)]
        return laid_over(
            lambda: np.full(sides, NO_LABEL, np.uint8),
            (z, y, x),
            self._revisions,
            lambda where: self._slices.revision_mask(self._revisions[where]),
        )


class OnlyChosen:
    """The same labels on some slices; `NO_LABEL` everywhere else."""

    dtype = np.dtype(np.uint8)

    def __init__(self, labels: Windowed, chosen: Chosen) -> None:
        self.shape = labels.shape
        self._labels, self._axis = labels, chosen.axis
        self._left_out = np.ones(labels.shape[chosen.axis], bool)
        self._left_out[list(chosen.indices)] = False

    def __getitem__(self, window: Window) -> NDArray[np.uint8]:
        """A fresh copy of a window."""
        found = np.array(self._labels[window], np.uint8)
        np.moveaxis(found, self._axis, 0)[self._left_out[window[self._axis]]] = NO_LABEL
        return found


class Renumbered:
    """The same labels with other values; what `numbers` does not name becomes `others`."""

    dtype = np.dtype(np.uint8)

    def __init__(self, labels: Windowed, numbers: Mapping[int, int], others: int = 0) -> None:
        self.shape = labels.shape
        self._labels = labels
        self._table = np.full(256, others, np.uint8)
        self._table[0] = 0
        for value, number in numbers.items():
            self._table[value] = number

    def __getitem__(self, window: Window) -> NDArray[np.uint8]:
        """A fresh copy of a window."""
        return np.asarray(self._table[np.asarray(self._labels[window])])
