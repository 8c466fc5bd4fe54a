"""Whether the network sees single slices, slices with their neighbours, or volumes.

What counts is the anisotropy: the distance between neighbouring slices in pixels of the working
resolution. The two thresholds are nnU-Net's (Isensee et al., Nature Methods 2021), which convolves
and pools across an axis while spacings lie within a factor of 2 of each other, and treats an axis
as anisotropic, slice by slice, from a factor of 3 on.
"""

from collections.abc import Sequence
from statistics import median
from typing import Literal

from napari_mlbseg.project.records.cases import Case

Dimensions = Literal["2d", "2.5d", "3d"]

NEAR_ISOTROPIC = 2.0
TOO_FAR_APART = 3.0
ROUNDING = 1.01
"""Headers round, so a spacing up to one percent beyond a threshold still counts as on it."""


def anisotropy(cases: Sequence[Case], resolution_mm: float) -> float:
    """Distance between neighbouring slices in working pixels, the median over the cases."""
    return median(case.geometry.spacing_mm[case.axis] for case in cases) / resolution_mm


def choose_dimensions(anisotropy: float, *, volumes: bool) -> Dimensions:
    """Choose the dimensions for slices that lie `anisotropy` working pixels apart.

    - more than 3: ``2d``; the neighbours no longer show the same structure.
    - up to 3: ``2.5d``, with the neighbouring slices as further channels.
    - up to 2: ``3d`` if the device is quick enough for `volumes`, else ``2.5d``.

    >>> choose_dimensions(1.5, volumes=True), choose_dimensions(5.0, volumes=True)
    ('3d', '2d')
    """
    if anisotropy > ROUNDING * TOO_FAR_APART:
        return "2d"
    if volumes and anisotropy <= ROUNDING * NEAR_ISOTROPIC:
        return "3d"
    return "2.5d"
