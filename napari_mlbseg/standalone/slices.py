"""Preparation for a network of slices: from a volume to grids, and back to labels.

A volume is cut into slices. The intensities of the volume are clipped to two of its percentiles and
standardised; each slice is brought onto a square grid of one resolution, with its neighbours as
further channels. The network's probabilities on the grid are interpolated back to the pixels of the
slice and hardened there. Both ways are linear in rows and in columns, so that one matrix for each
is enough.

Needs numpy only.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.standalone.image import (
    Grids,
    Labels,
    Layout,
    Model,
    Preparation,
    as_channels,
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
    initial_labels
        Labels on the same voxels, if there are any, for a network that sees them.
    """

    def __init__(
        self,
        volume: NDArray[Any],
        affine: NDArray[Any],
        preparation: Preparation,
        initial_labels: NDArray[Any] | None = None,
    ) -> None:
        self.layout = layout_of(volume.shape, affine, preparation.axis)
        self._slices = self.layout.stack(volume)
        self._initial = None if initial_labels is None else self.layout.stack(initial_labels)
        self._scale = scale_of(volume, preparation.percentiles)
        self._preparation, self._channels = preparation, preparation.image_channels
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
        images = [
            np.stack([known[int(i)] for i in wanted[k : k + self._channels]])
            for k in range(stop - start)
        ]
        shape = self.layout.shape[1:]
        labels = [
            rows @ as_channels(labels, shape, self._preparation) @ columns.T
            for labels in self._initial_labels(start, stop)
        ]
        return np.concatenate([np.stack(images), np.stack(labels)], axis=1)

    def _initial_labels(self, start: int, stop: int) -> Sequence[NDArray[Any] | None]:
        return [None] * (stop - start) if self._initial is None else list(self._initial[start:stop])

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
    volume: NDArray[Any],
    affine: NDArray[Any],
    preparation: Preparation,
    model: Model,
    initial_labels: NDArray[Any] | None = None,
) -> Labels:
    """Labels of a volume, in the file's order of voxels."""
    slices = Slices(volume, affine, preparation, initial_labels)
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
