"""Preparation for a network of slices: from a volume to grids, and back to labels.

A volume is cut into slices. The intensities of the volume are clipped to two of its percentiles and
standardised; each slice is brought onto a square grid of one resolution, with its neighbours as
further channels. The network's probabilities on the grid are interpolated back to the pixels of the
slice and hardened there. Both ways are linear in rows and in columns, so that one matrix for each
is enough.

Needs numpy only.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.standalone.image import (
    Grids,
    Labels,
    Layout,
    Model,
    Preparation,
    layout_of,
    normalised,
    scale_of,
)
from napari_mlbseg.standalone.sampling import Matrix, to_grid, to_pixels

BLOCK = 8
"""How many slices go through the network at once."""


class Slices:
    """A volume as the network sees it, and the way back.

    Parameters
    ----------
    volume
        The array as the file stores it, raw intensities.
    affine
        4 x 4, from indices of that array to RAS positions in mm, as nibabel gives it.
    """

    def __init__(
        self, volume: NDArray[Any], affine: NDArray[Any], preparation: Preparation
    ) -> None:
        self.layout = layout_of(volume.shape, affine, preparation.axis)
        self._slices = self.layout.stack(volume)
        self._scale = scale_of(volume, preparation.percentiles)
        self._channels = preparation.channels
        self._to_grid = _in_plane(to_grid, self.layout, preparation)

    def grids(self, start: int, stop: int) -> Grids:
        """Slices on the grid, ``slices channels y x``; at the ends the last slice is repeated."""
        context = self._channels // 2
        wanted = np.arange(start - context, stop + context).clip(0, len(self._slices) - 1)
        rows, columns = self._to_grid
        known = {
            int(i): rows @ normalised(self._slices[i], self._scale) @ columns.T
            for i in np.unique(wanted)
        }
        return np.stack(
            [
                np.stack([known[int(i)] for i in wanted[k : k + self._channels]])
                for k in range(stop - start)
            ]
        )

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First slice, and the one after the last, of each block."""
        count = len(self._slices)
        for start in range(0, count, BLOCK):
            yield start, min(start + BLOCK, count)


def hardened(probabilities: Grids, layout: Layout, preparation: Preparation) -> Labels:
    """Labels at the pixels of the slices, from probabilities ``slices classes y x`` on the grid."""
    rows, columns = _in_plane(to_pixels, layout, preparation)
    values = np.array(preparation.class_values, dtype=np.uint8)
    found: Labels = values[(rows @ probabilities @ columns.T).argmax(axis=1)]
    return found


def segment(
    volume: NDArray[Any], affine: NDArray[Any], preparation: Preparation, model: Model
) -> Labels:
    """Labels of a volume, in the file's order of voxels."""
    slices = Slices(volume, affine, preparation)
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
