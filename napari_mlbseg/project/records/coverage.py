"""Which slices were looked at, themselves or a slice nearby; only there the network is trusted.

A network trained on a few slices works well between them and badly beyond them: it has never seen
where a structure ends. So a slice counts as looked at if a clean slice is near it along the axis.
A slice that is certified empty, because a person marked where every class ends, counts like a clean
one. Those of other cases count at the same relative position if the fields of view are alike.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.extents import Certified
from napari_mlbseg.project.records.slices import SliceKey

BETWEEN_MM: Final = 10.0
BETWEEN_SHARE: Final = 1 / 8
"""Between clean slices, near means within this distance, or this share of their extent."""

_LENGTHS_ALIKE: Final = 1.1
_WIDTHS_ALIKE: Final = 1.5
_ROUNDING_MM: Final = 1e-6

LookedAt = Mapping[str, NDArray[np.bool_]]
"""For each case, by its name, which slices along its axis were looked at."""

Heights = Mapping[tuple[str, int], NDArray[np.float64]]
"""Of the clean slices of a case along an axis, and of those that are certified empty."""

_NOTHING: Final[Certified] = {}


def near(at_mm: NDArray[np.float64], clean_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of some positions along an axis have a clean slice near; none beyond the outermost.

    Adding a clean slice never makes a position count as no longer near.

    >>> at_mm = np.arange(0.0, 50.0, 10.0)
    >>> near(at_mm, clean_mm=np.array([10.0, 40.0])).tolist()
    [False, True, True, True, True]
    """
    if not len(clean_mm):
        return np.zeros(len(at_mm), dtype=np.bool_)
    clean_mm = np.unique(clean_mm)
    lowest, highest = float(clean_mm[0]), float(clean_mm[-1])
    between = (at_mm >= lowest - _ROUNDING_MM) & (at_mm <= highest + _ROUNDING_MM)
    reach = max(BETWEEN_MM, BETWEEN_SHARE * (highest - lowest))
    after = np.searchsorted(clean_mm, at_mm)
    below = clean_mm[np.maximum(after - 1, 0)]
    above = clean_mm[np.minimum(after, len(clean_mm) - 1)]
    distance = np.minimum(np.abs(at_mm - below), np.abs(above - at_mm))
    return np.asarray(between & (distance <= reach + _ROUNDING_MM))


def alike(a: Case, b: Case, axis: int) -> bool:
    """Whether the fields of view of two cases are alike, so that heights can be compared.

    They are if both are equally long along the axis within a tenth, and equally wide across it
    within a half.
    """
    for k, (ours, theirs) in enumerate(zip(_lengths_mm(a), _lengths_mm(b), strict=True)):
        most = _LENGTHS_ALIKE if k == axis else _WIDTHS_ALIKE
        if max(ours, theirs) > most * min(ours, theirs):
            return False
    return True


def looked_at(
    case: Case,
    cases: Sequence[Case],
    clean: Iterable[SliceKey],
    axis: int | None = None,
    *,
    certified: Certified = _NOTHING,
) -> NDArray[np.bool_]:
    """Which slices of a case were looked at, along a display axis (the case's by default).

    `clean` are the clean slices of all `cases`, and `certified` says which slices are certified
    empty; those along other axes do not count.
    """
    heights = _heights(cases, clean, certified)
    return _looked_at(case, cases, heights, case.axis if axis is None else axis)


def looked_at_everywhere(
    cases: Sequence[Case], clean: Iterable[SliceKey], certified: Certified = _NOTHING
) -> LookedAt:
    """The same of every case, along its axis."""
    heights = _heights(cases, clean, certified)
    return {case.id: _looked_at(case, cases, heights, case.axis) for case in cases}


def _heights(cases: Sequence[Case], clean: Iterable[SliceKey], certified: Certified) -> Heights:
    """Where the known slices of each case lie along each axis, as shares of its length."""
    shapes = {case.id: case.geometry.shape for case in cases}
    indices: dict[tuple[str, int], list[int]] = {
        where: np.flatnonzero(empty).tolist()
        for where, empty in certified.items()
        if where[0] in shapes and empty.any()
    }
    for key in clean:
        if key.case_id in shapes:
            indices.setdefault((key.case_id, key.axis), []).append(key.index)
    return {
        (case_id, axis): (np.array(found) + 0.5) / shapes[case_id][axis]
        for (case_id, axis), found in indices.items()
    }


def _looked_at(case: Case, cases: Sequence[Case], heights: Heights, axis: int) -> NDArray[np.bool_]:
    length_mm, count = _lengths_mm(case)[axis], case.geometry.shape[axis]
    shares = [
        heights[other.id, axis]
        for other in cases
        if (other.id, axis) in heights and (other.id == case.id or alike(case, other, axis))
    ]
    at_mm = (np.arange(count) + 0.5) / count * length_mm
    return near(at_mm, np.concatenate([*shares, np.empty(0)]) * length_mm)


def _lengths_mm(case: Case) -> tuple[float, ...]:
    """The extent of the image along z, y and x, in mm."""
    geometry = case.geometry
    return tuple(n * mm for n, mm in zip(geometry.shape, geometry.spacing_mm, strict=True))
