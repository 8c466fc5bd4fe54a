"""The working grid: all cases of a study are resampled to one resolution.

A structure then has the same size in pixels whatever the spacing of its file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.channels import ONE_CHANNEL

MULTIPLE = 16
"""Sides of the grid are multiples of this: the networks halve their input four times."""

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Grid:
    """A square of `size` pixels, each `resolution_mm` wide, centred on the slice."""

    size: int
    resolution_mm: float


@dataclass(frozen=True)
class VolumeGrid:
    """The voxel size `resolution_mm`, and the `patch` (voxels) that the network sees at once.

    Both are ordered as slices are stacked: along the annotated axis, rows, columns.
    """

    patch: Triple
    resolution_mm: tuple[float, float, float]


@dataclass(frozen=True)
class SampleShape:
    """What a network sees at once: a slice with its channels, or a patch of a volume.

    Attributes
    ----------
    size, resolution_mm
        Size in pixels, and pixel size in mm: along y and x, or along the annotated axis, y and x.
    label_channels
        How many of the channels, the last ones, hold imported labels, see
        `napari_mlbseg.engine.nets.labels.as_input`.
    channel_names
        The channels of the study: each is as many channels here as slices are seen at once.
    """

    channels: int
    size: tuple[int, ...]
    resolution_mm: tuple[float, ...]
    label_channels: int = 0
    channel_names: tuple[str, ...] = (ONE_CHANNEL,)

    @property
    def image_channels(self) -> int:
        """Channels that hold the image."""
        return self.channels - self.label_channels

    @property
    def slices(self) -> int:
        """How many neighbouring slices are seen at once; 1 for patches."""
        return self.image_channels // len(self.channel_names)

    @property
    def dimensions(self) -> int:
        """2 for slices, 3 for patches."""
        return len(self.size)


def choose_grid(cases: Sequence[Case], size: int) -> Grid:
    """Choose the finest resolution at which every slice fits, but none finer than the files'."""
    extents, spacings = [], []
    for case in cases:
        for spacing, count in zip(*in_plane(case, case.axis), strict=True):
            extents.append(spacing * count)
            spacings.append(spacing)
    return Grid(size, max(max(extents) / size, float(np.median(spacings))))


def with_room_for(grid: Grid, cases: Sequence[Case]) -> Grid:
    """A grid of the same resolution that is large enough for every slice of these cases."""
    widest = max(
        spacing * count
        for case in cases
        for spacing, count in zip(*in_plane(case, case.axis), strict=True)
    )
    needed = MULTIPLE * ceil(widest / grid.resolution_mm / MULTIPLE - 1e-6)
    return Grid(max(grid.size, needed), grid.resolution_mm)


def choose_volume_grid(cases: Sequence[Case], grid: Grid, largest: Triple) -> VolumeGrid:
    """Choose voxels at the resolution of the slices, isotropic as far as the files allow.

    Along the annotated axis they are not finer than the files'. The patch is `largest`, or smaller
    if the volumes are.
    """
    distances = [case.geometry.spacing_mm[case.axis] for case in cases]
    along = max(grid.resolution_mm, float(np.median(distances)))
    depth = max(
        d * case.geometry.shape[case.axis] for d, case in zip(distances, cases, strict=True)
    )
    needed = MULTIPLE * ceil(depth / along / MULTIPLE - 1e-6)
    patch = min(largest[0], needed), min(largest[1], grid.size), min(largest[2], grid.size)
    return VolumeGrid(patch, (along, grid.resolution_mm, grid.resolution_mm))


def in_plane(case: Case, axis: int) -> tuple[tuple[float, float], tuple[int, int]]:
    """Spacing in mm and shape (rows, columns) of the slices across `axis`."""
    rows, columns = (a for a in range(3) if a != axis)
    spacing, shape = case.geometry.spacing_mm, case.geometry.shape
    return (spacing[rows], spacing[columns]), (shape[rows], shape[columns])
