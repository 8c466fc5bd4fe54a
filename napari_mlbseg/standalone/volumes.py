"""Preparation for a network of volumes: from a volume to the grid, and back to labels.

The volume is brought onto a grid of one resolution, its intensities clipped to two percentiles and
standardised. The network sees overlapping tiles of the grid; its output for a tile is weighted by a
Gaussian that favours the middle (as in MONAI and nnU-Net). The probabilities are averaged over
views of the whole grid, interpolated back to the voxels of the file and hardened there.

Needs numpy only.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import ceil
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
    Shape,
    as_channels,
    layout_of,
    normalised,
    scale_of,
    volumes_of,
)
from napari_mlbseg.standalone.sampling import to_grid, to_pixels
from napari_mlbseg.standalone.views import other_views

OVERLAP = 0.5
"""Share of a tile that the next tile covers as well."""
TILES_AT_ONCE = 2
_SIGMA = 0.125
"""Standard deviation of the Gaussian, in sides of a tile."""
_LEAST_WEIGHT = 1e-3


def on_grid(
    image: Image,
    affine: NDArray[Any],
    preparation: Preparation,
    initial_labels: NDArray[Any] | None = None,
) -> Grids:
    """``1 channels z y x``: an image as the network sees it, with layers across the slice axis.

    Parameters
    ----------
    image
        The array as the file stores it, raw intensities; one for each channel if there are several.
    affine
        4 x 4, from indices of that array to RAS positions in mm, as nibabel gives it.
    initial_labels
        Labels on the same voxels, if there are any, for a network that sees them.
    """
    volumes = volumes_of(image, preparation)
    layout = layout_of(volumes[0].shape, affine, preparation.axis)
    scales = [scale_of(volume, preparation.percentiles) for volume in volumes]
    stacks = zip(*(layout.stack(volume) for volume in volumes), strict=True)
    planes = (np.stack(list(map(normalised, planes, scales))) for planes in stacks)
    shown = _sampled(planes, layout, preparation)
    known = [None] * layout.shape[0] if initial_labels is None else layout.stack(initial_labels)
    marked = (as_channels(plane, layout.shape[1:], preparation) for plane in known)
    return np.concatenate([shown, _sampled(marked, layout, preparation, middle=True)])[None]


def _sampled(
    planes: Iterable[Grids], layout: Layout, preparation: Preparation, *, middle: bool = False
) -> Grids:
    """``channels z y x`` on the grid, from ``channels rows columns`` of each slice."""
    layers, rows, columns = (to_grid(*along, middle=middle) for along in _axes(layout, preparation))
    grid = np.tensordot(layers, np.stack([rows @ plane @ columns.T for plane in planes]), axes=1)
    return np.asarray(grid.swapaxes(0, 1), dtype=np.float32)


def probabilities(network: Model, image: Grids, *, tile: Shape, views: Sequence[str]) -> Grids:
    """Probabilities ``1 classes z y x``, averaged at each voxel over the views that see it."""
    total = _softmax(tiled(network, image, tile))
    height, width = image.shape[-2:]
    seen: Grids = np.ones((height, width), dtype=np.float32)
    for view in other_views(views, (height, width)):
        shown = np.asarray(view.rows @ image @ view.columns.T, dtype=np.float32)
        found = _softmax(tiled(network, shown, tile))
        total += (view.rows_back @ found @ view.columns_back.T) * view.known
        seen += view.known
    return total / seen


def tiled(network: Model, image: Grids, tile: Shape) -> Grids:
    """The network's output ``1 classes z y x`` for ``1 channels z y x``, joined from tiles."""
    space = image.shape[2:]
    importance = _importance(tile)
    total: Grids = np.zeros(0, dtype=np.float32)
    weight = np.zeros(space, dtype=np.float32)
    every = list(_tiles(space, tile))
    for first in range(0, len(every), TILES_AT_ONCE):
        places = every[first : first + TILES_AT_ONCE]
        said = network(np.concatenate([image[:, :, z, y, x] for z, y, x in places]))
        if not total.size:
            total = np.zeros((1, said.shape[1], *space), dtype=np.float32)
        for (z, y, x), logits in zip(places, said, strict=True):
            total[0, :, z, y, x] += logits * importance
            weight[z, y, x] += importance
    return total / weight


def hardened(found: Grids, layout: Layout, preparation: Preparation) -> Labels:
    """Labels of the slices, from their probabilities ``1 classes z y x`` on the grid."""
    layers, rows, columns = (to_pixels(*along) for along in _axes(layout, preparation))
    values = np.array(preparation.class_values, dtype=np.uint8)
    labels = np.empty(layout.shape, dtype=np.uint8)
    for index, shares in enumerate(layers):
        near = np.flatnonzero(shares)
        plane = np.tensordot(found[0][:, near], shares[near], axes=(1, 0))
        labels[index] = values[(rows @ plane @ columns.T).argmax(axis=0)]
    return labels


def segment(
    image: Image,
    affine: NDArray[Any],
    preparation: Preparation,
    model: Model,
    initial_labels: NDArray[Any] | None = None,
) -> Labels:
    """Labels of an image, in the file's order of voxels.

    `model` maps a volume on the grid to `probabilities`.
    """
    layout = layout_of(volumes_of(image, preparation)[0].shape, affine, preparation.axis)
    found = model(on_grid(image, affine, preparation, initial_labels))
    return layout.unstack(hardened(found, layout, preparation))


def _axes(layout: Layout, preparation: Preparation) -> Iterator[tuple[int, float, int, float]]:
    """For layers, rows and columns: count and spacing in the file, and the same on the grid.

    The grid covers the volume, and has room for a tile.
    """
    for count, spacing, tile, resolution in zip(
        layout.shape, layout.spacing_mm, preparation.size, preparation.resolution_mm, strict=True
    ):
        needed = ceil(count / (resolution / spacing) - 1e-6)
        yield count, spacing, max(needed, tile), resolution


def _tiles(space: Shape, tile: Shape) -> Iterator[tuple[slice, slice, slice]]:
    """Where tiles start: at every stride, and the last so that it ends with the grid."""
    starts = []
    for count, side in zip(space, tile, strict=True):
        stride = max(1, int(side * (1 - OVERLAP)))
        steps = ceil((count - side) / stride)
        starts.append([min(k * stride, count - side) for k in range(steps + 1)])
    depth, height, width = tile
    for z, y, x in product(*starts):
        yield slice(z, z + depth), slice(y, y + height), slice(x, x + width)


def _importance(tile: Shape) -> Grids:
    weights: Grids = np.ones((), dtype=np.float32)
    for side in tile:
        from_centre = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
        gaussian = np.exp(-(from_centre**2) / (2 * (_SIGMA * side) ** 2))
        weights = weights[..., None] * gaussian.astype(np.float32)
    return weights.clip(max(float(weights.min()), _LEAST_WEIGHT))


def _softmax(logits: Grids) -> Grids:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Grids = powers / powers.sum(axis=1, keepdims=True)
    return found
