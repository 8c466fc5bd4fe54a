"""Which slices somebody looked at, or at one near by: the network is a judge there, not beyond.

A network that learnt from a few slices is at home between them and lost beyond them: it has never
seen where a structure ends. So a slice counts as looked at where a clean slice lies near it along
the axis. Clean slices of other cases count at the same relative position where the fields of view
are alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.slices import SliceKey

BETWEEN_MM: Final = 10.0
BETWEEN_SHARE: Final = 1 / 8
"""Between clean slices one is near within this distance, or this share of their spread."""

_LENGTHS_ALIKE: Final = 1.1
_WIDTHS_ALIKE: Final = 1.5
_ROUNDING_MM: Final = 1e-6

LookedAt = Mapping[str, NDArray[np.bool_]]
"""For each case, by its name, which slices along its axis somebody looked at."""


def near(at_mm: NDArray[np.float64], clean_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of some positions along an axis have a clean slice near: none beyond the outermost.

    Nothing that counts as near ceases to when a clean slice is added.

    >>> at_mm = np.arange(0.0, 50.0, 10.0)
    >>> near(at_mm, clean_mm=np.array([10.0, 40.0])).tolist()
    [False, True, True, True, True]
    """
    if not len(clean_mm):
        return np.zeros(len(at_mm), dtype=np.bool_)
    lowest, highest = float(clean_mm.min()), float(clean_mm.max())
    between = (at_mm >= lowest - _ROUNDING_MM) & (at_mm <= highest + _ROUNDING_MM)
    reach = max(BETWEEN_MM, BETWEEN_SHARE * (highest - lowest))
    distance = np.abs(at_mm[:, None] - clean_mm).min(axis=1)
    return np.asarray(between & (distance <= reach + _ROUNDING_MM))


def alike(a: Case, b: Case, axis: int) -> bool:
    """Whether the fields of view of two cases are alike, so that heights can be compared.

    They are as long along the axis within a tenth, and as wide across it within a half.
    """
    for k, (ours, theirs) in enumerate(zip(_lengths_mm(a), _lengths_mm(b), strict=True)):
        most = _LENGTHS_ALIKE if k == axis else _WIDTHS_ALIKE
        if max(ours, theirs) > most * min(ours, theirs):
            return False
    return True


def looked_at(
    case: Case, cases: Sequence[Case], clean: Iterable[SliceKey], axis: int | None = None
) -> NDArray[np.bool_]:
    """Which slices of a case somebody looked at, along a display axis (the case's by default).

    `clean` are the clean slices of all `cases`; those along other axes count for nothing.
    """
    axis = case.axis if axis is None else axis
    length_mm, count = _lengths_mm(case)[axis], case.geometry.shape[axis]
    counts = {
        other.id: other.geometry.shape[axis]
        for other in cases
        if other.id == case.id or alike(case, other, axis)
    }
    shares = [
        (key.index + 0.5) / counts[key.case_id]
        for key in clean
        if key.axis == axis and key.case_id in counts
    ]
    at_mm = (np.arange(count) + 0.5) / count * length_mm
    return near(at_mm, np.array(shares, dtype=np.float64) * length_mm)


def looked_at_everywhere(cases: Sequence[Case], clean: Iterable[SliceKey]) -> LookedAt:
    """The same of every case, along its axis."""
    clean = tuple(clean)
    return {case.id: looked_at(case, cases, clean) for case in cases}


def _lengths_mm(case: Case) -> tuple[float, ...]:
    """How long the image is along z, y and x."""
    geometry = case.geometry
    return tuple(n * mm for n, mm in zip(geometry.shape, geometry.spacing_mm, strict=True))
