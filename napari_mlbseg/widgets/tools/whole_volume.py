"""Clean-up of one class in a whole volume, and what it may change there.

Labels are uint8 (z y x). Lengths are in mm, as `spacing_mm` (z y x) is. A border moves by a pixel
of the slices in all three directions, so that it stays where it is across thick slices.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np

from napari_mlbseg.project.labels import SliceId
from napari_mlbseg.project.records.extents import Excluded, clear_excluded
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.widgets.tools import cleaning
from napari_mlbseg.widgets.tools.cleaning import Labels, Mask, Spacing

_BLUR_STEPS: Final = 4.0
"""How many steps away smoothing still looks."""


@dataclass(frozen=True)
class Cleaning:
    """One way to clean up.

    Attributes
    ----------
    doing
        In words; the name of a class follows.
    change
        Returns new labels, from labels, class, spacing, step and the size (mm³) of islands.
    """

    doing: str
    change: Callable[[Labels, int, Spacing, float, float], Labels]


CLEANINGS: Final[Mapping[str, Cleaning]] = {
    "grow": Cleaning("grow", lambda labels, v, mm, step, _: cleaning.grow(labels, v, mm, step)),
    "shrink": Cleaning(
        "shrink", lambda labels, v, mm, step, _: cleaning.shrink(labels, v, mm, step)
    ),
    "smooth": Cleaning(
        "smooth", lambda labels, v, mm, step, _: cleaning.smooth(labels, v, mm, step)
    ),
    "fill_holes": Cleaning(
        "fill holes of", lambda labels, v, mm, step, _: cleaning.fill_holes(labels, v)
    ),
    "keep_largest": Cleaning(
        "keep the largest piece of",
        lambda labels, v, mm, step, _: cleaning.keep_largest(labels, v),
    ),
    "remove_islands": Cleaning(
        "remove islands of",
        lambda labels, v, mm, step, below: cleaning.remove_islands(labels, v, below, mm),
    ),
}
"""By the name of the command for a slice."""


@dataclass(frozen=True)
class Fixed:
    """What stays as it is.

    Attributes
    ----------
    slices
        Slices of a person's, and skipped ones.
    locked
        Locked classes.
    excluded
        Along each display axis, which classes do not show on which slices.
    """

    slices: Sequence[SliceId]
    locked: Sequence[int]
    excluded: Mapping[int, Excluded]

    def in_volume(self, labels: Labels) -> Mask:
        """Return which voxels stay."""
        stays = np.isin(labels, list(self.locked))
        for axis, index in self.slices:
            stays[plane(axis, index)] = True
        return stays


@dataclass(frozen=True)
class Cleaned:
    """What was changed.

    Attributes
    ----------
    slices
        New labels (y x) by the index of their slice.
    changed, stayed
        How many voxels changed, and how many would have, but stay.
    """

    slices: Mapping[int, Labels]
    changed: int
    stayed: int


def cleaned(
    labels: Labels,
    value: int,
    change: Callable[[Labels, int, Spacing, float, float], Labels],
    *,
    axis: int,
    spacing_mm: Spacing,
    islands_below_mm3: float,
    fixed: Fixed,
) -> Cleaned:
    """Clean a class up, and return the slices along `axis` that change."""
    step = max(mm for k, mm in enumerate(spacing_mm) if k != axis)
    where = _around(labels == value, spacing_mm, step)
    if where is None:
        return Cleaned({}, 0, 0)
    found = labels.copy()
    found[where] = change(labels[where], value, spacing_mm, step, islands_below_mm3)
    clear_excluded(found, (slice(None),) * 3, fixed.excluded)
    wanted = found != labels
    stays = wanted & fixed.in_volume(labels)
    found[stays] = labels[stays]
    wanted &= ~stays
    touched = np.flatnonzero(wanted.any(axis=tuple(k for k in range(3) if k != axis)))
    slices = {int(k): found[plane(axis, int(k))].copy() for k in touched}
    return Cleaned(slices, int(np.count_nonzero(wanted)), int(np.count_nonzero(stays)))


def _around(mask: Mask, spacing_mm: Spacing, step_mm: float) -> tuple[slice, slice, slice] | None:
    """The box around a class, with all that a change of its border looks at; None without one."""
    sides = [
        np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis))) for axis in range(3)
    ]
    if not sides[0].size:
        return None
    reach = [ceil(_BLUR_STEPS * step_mm / mm) + 1 for mm in spacing_mm]
    z, y, x = (
        slice(max(0, int(found[0]) - far), int(found[-1]) + far + 1)
        for found, far in zip(sides, reach, strict=True)
    )
    return z, y, x
