"""Preparation for a network of slices: from a volume to grids, and back to labels.

A volume is cut into slices. The intensities of the volume are clipped to two of its percentiles and
standardised; each slice is brought onto a square grid of one resolution, with its neighbours as
further channels: first those of the first channel of the image, then those of the second one. The
network's probabilities on the grid are interpolated back to the pixels of the slice and hardened
there. Both ways are linear in rows and in columns, so that one matrix for each is enough.

Needs numpy only.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.standalone.image import (
    Grids,
    Image,
    Labels,
    Layout,
    Model,
    Preparation,
    as_channels,
    layout_of,
    normalised,
    scale_of,
    volumes_of,
)
from napari_mlbseg.standalone.sampling import Matrix, to_grid, to_pixels

BLOCK = 8
"""How many slices go through the network at once."""


class Slices:
    """An image as the network sees it, and the way back.

    Parameters
    ----------
    image
        The array as the file stores it, raw intensities; one for each channel if there are several.
    affine
        4 x 4, from indices of that array to RAS positions in mm, as nibabel gives it.
    initial_labels
        Labels on the same voxels, if there are any, for a network that sees them.
    """

    def __init__(
        self,
        image: Image,
        affine: NDArray[Any],
        preparation: Preparation,
        initial_labels: NDArray[Any] | None = None,
    ) -> None:
        volumes = volumes_of(image, preparation)
        self.layout = layout_of(volumes[0].shape, affine, preparation.axis)
        self._channels = [self.layout.stack(volume) for volume in volumes]
        self._initial = None if initial_labels is None else self.layout.stack(initial_labels)
        self._scales = [scale_of(volume, preparation.percentiles) for volume in volumes]
        self._preparation = preparation
        self._to_grid = _in_plane(to_grid, self.layout, preparation)

    def grids(self, start: int, stop: int) -> Grids:
        """Slices on the grid, ``slices channels y x``; at the ends the last slice is repeated."""
        rows, columns = self._to_grid
        each = range(len(self._channels))
        images = np.concatenate([self._with_neighbours(k, start, stop) for k in each], axis=1)
        shape = self.layout.shape[1:]
        labels = [
            rows @ as_channels(labels, shape, self._preparation) @ columns.T
            for labels in self._initial_labels(start, stop)
        ]
        return np.concatenate([images, np.stack(labels)], axis=1)

    def _with_neighbours(self, channel: int, start: int, stop: int) -> Grids:
        """Slices of a channel with their neighbours, ``slices neighbours y x``."""
        planes, scale = self._channels[channel], self._scales[channel]
        seen = self._preparation.slices
        wanted = np.arange(start - seen // 2, stop + seen // 2).clip(0, len(planes) - 1)
        rows, columns = self._to_grid
        known = {int(i): rows @ normalised(planes[i], scale) @ columns.T for i in np.unique(wanted)}
        each = range(stop - start)
        return np.stack([np.stack([known[int(i)] for i in wanted[k : k + seen]]) for k in each])

    def _initial_labels(self, start: int, stop: int) -> Sequence[NDArray[Any] | None]:
        return [None] * (stop - start) if self._initial is None else list(self._initial[start:stop])

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First slice, and the one after the last, of each block."""
        count = self.layout.shape[0]
        for start in range(0, count, BLOCK):
            yield start, min(start + BLOCK, count)


def hardened(probabilities: Grids, layout: Layout, preparation: Preparation) -> Labels:
    """Labels at the pixels of the slices, from probabilities ``slices classes y x`` on the grid."""
    rows, columns = _in_plane(to_pixels, layout, preparation)
    values = np.array(preparation.class_values, dtype=np.uint8)
    found: Labels = values[(rows @ probabilities @ columns.T).argmax(axis=1)]
    return found


def segment(
    image: Image,
    affine: NDArray[Any],
    preparation: Preparation,
    model: Model,
    initial_labels: NDArray[Any] | None = None,
) -> Labels:
    """Labels of an image, in the file's order of voxels."""
    slices = Slices(image, affine, preparation, initial_labels)
    found = np.empty(slices.layout.shape, dtype=np.uint8)
    for start, stop in slices.blocks():
        said = model(slices.grids(start, stop))
        found[start:stop] = hardened(said, slices.layout, preparation)
    return slices.layout.unstack(found)


def _in_plane(
    matrix: Callable[..., Matrix], layout: Layout, preparation: Preparation
) -> list[Matrix]:
    """A matrix for rows and one for columns."""
    along = zip(
        layout.shape[1:],
        layout.spacing_mm[1:],
        preparation.size,
        preparation.resolution_mm,
        strict=True,
    )
    return [matrix(*parameters) for parameters in along]
