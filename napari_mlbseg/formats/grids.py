"""Bringing labels onto the grid of their image, in whatever order their files store the axes."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.scan import Scan
from napari_mlbseg.volume import Geometry


def on_grid_of(labels: Scan, image: Geometry, labels_path: Path, image_path: Path) -> Scan:
    """The labels in the display order of the image.

    Their file may store the axes in another order or direction; only positions count.

    Raises
    ------
    UserError
        If the labels do not lie on the voxels of the image; the message names both files.
    """
    if labels.onto is not None:
        return labels.onto(image)
    aligned = labels.geometry.aligned_with(image)
    if aligned is not None:
        return replace(labels, geometry=aligned)
    theirs = labels.geometry
    if sorted(theirs.shape) != sorted(image.shape):
        raise UserError(
            f"{labels_path} has {theirs.file_shape} voxels, but its image {image_path} has "
            f"{image.file_shape}. Resample the labels onto the grid of the image."
        )
    apart = _corners_mm(theirs)[:, None] - _corners_mm(image)[None]
    worst = np.linalg.norm(apart, axis=-1).min(0).max()
    raise UserError(
        f"{labels_path} does not lie on its image {image_path}: corners are up to "
        f"{worst:.4g} mm apart. Resample the labels onto the grid of the image, or correct the "
        "wrong header."
    )


def _corners_mm(geometry: Geometry) -> NDArray[np.float64]:
    """Positions of the eight corner voxels, shape (8, 3)."""
    indices = np.array([[*index, 1] for index in product(*((0, n - 1) for n in geometry.shape))])
    return np.asarray((indices @ geometry.display_affine.T)[:, :3])
