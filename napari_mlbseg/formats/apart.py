"""Two grids that are not the same, in words: both, how far apart they are, and why."""

from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.limits import times
from napari_mlbseg.volume import Geometry

_UNITS: Final = (1000.0, 1e6, 10.0, 25.4, 1000.0 * 25.4)
"""Factors by which lengths differ if a file was written in another unit."""
_SAME: Final = 0.005
"""How much two ratios may differ and still count as one."""
_PLAIN_DEGREES: Final = 0.05

_SAVE_AGAIN: Final = (
    "If the labels fit the image voxel by voxel, give their file the header of the image; if they "
    "do not, resample them onto the grid of the image."
)
_RESAMPLE: Final = "Resample the labels onto the grid of the image, with nearest neighbours."
_RESAMPLE_IMAGE: Final = (
    "Resample it onto the grid of the image; if both fit voxel by voxel, give its file the header "
    "of the image."
)
_UNIT: Final = "Correct the unit in the file that has the wrong one."


def not_on_grid(
    labels: Path,
    theirs: Geometry,
    ours: Geometry,
    image: Path | None = None,
    what: str = "labels",
) -> UserError:
    """The error for labels, or something else, that does not lie on the voxels of its image."""
    cause, advice = _cause(theirs, ours)
    if what != "labels" and advice != _UNIT:
        advice = _RESAMPLE_IMAGE
    its_image = "its image" if image is None else f"its image {image}"
    both = f"{what.capitalize()}: {in_words(theirs)}. Image: {in_words(ours)}."
    return UserError(
        f"{labels} does not lie on {its_image}: {cause}; corners are up to "
        f"{distance_mm(theirs, ours):.4g} mm apart. {both} {advice}"
    )


def distance_mm(one: Geometry, other: Geometry) -> float:
    """The largest distance from a corner voxel of one grid to the nearest one of the other."""
    apart = _corners_mm(one)[:, None] - _corners_mm(other)[None]
    return float(np.linalg.norm(apart, axis=-1).min(0).max())


def in_words(geometry: Geometry) -> str:
    """Voxels, their size and the place of the first one, in the order of the file's axes."""
    affine = np.asarray(geometry.affine)
    size = " x ".join(f"{mm:.4g}" for mm in np.linalg.norm(affine[:3, :3], axis=0))
    first = ", ".join(f"{mm + 0.0:.4g}" for mm in affine[:3, 3])
    return f"{times(geometry.file_shape)} voxels of {size} mm, the first at ({first}) mm in RAS"


def _cause(theirs: Geometry, ours: Geometry) -> tuple[str, str]:
    """Why two grids differ, and what to do about it."""
    ratios = np.divide(theirs.spacing_mm, ours.spacing_mm)
    factor = float(ratios[0])
    alike = bool(np.abs(ratios / factor - 1).max() < _SAME)
    if sorted(theirs.shape) != sorted(ours.shape):
        return _other_shape(theirs, ours)
    if alike and any(abs(max(factor, 1 / factor) / unit - 1) < _SAME for unit in _UNITS):
        return (
            f"its voxels are {factor:.4g} times as large, as if one of the two files was written "
            "in another unit",
            _UNIT,
        )
    if np.abs(ratios - 1).max() > _SAME:
        return "its voxels have another size", _SAVE_AGAIN
    turn = _directions(theirs) @ _directions(ours).T
    if theirs.file_shape == ours.file_shape and _handedness(theirs) != _handedness(ours):
        return "one of the two files is mirrored", _SAVE_AGAIN
    degrees = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    if degrees > _PLAIN_DEGREES:
        return f"it is turned by {degrees:.3g} degrees", _SAVE_AGAIN
    shift = theirs.display_affine[:3, 3] - ours.display_affine[:3, 3]
    words = ", ".join(f"{mm:.4g}" for mm in shift)
    return f"it is shifted by ({words}) mm in RAS", _SAVE_AGAIN


def _other_shape(theirs: Geometry, ours: Geometry) -> tuple[str, str]:
    sizes = np.multiply(theirs.shape, theirs.spacing_mm) / np.multiply(ours.shape, ours.spacing_mm)
    what = f"it has {times(theirs.file_shape)} voxels instead of {times(ours.file_shape)}"
    ratios = np.divide(theirs.spacing_mm, ours.spacing_mm)
    if np.abs(ratios - 1).max() < _SAME:
        return f"{what} of the same size", _RESAMPLE
    if np.abs(sizes - 1).max() < 2 * _SAME + 1 / min(ours.shape):
        return f"{what} over the same space, so its resolution is another", _RESAMPLE
    return what, _RESAMPLE


def _handedness(geometry: Geometry) -> float:
    """1 or -1: whether the file's axes turn into each other as the patient's do."""
    return float(np.sign(np.linalg.det(np.asarray(geometry.affine)[:3, :3])))


def _directions(geometry: Geometry) -> NDArray[np.float64]:
    columns = geometry.display_affine[:3, :3]
    return np.asarray(columns / np.linalg.norm(columns, axis=0))


def _corners_mm(geometry: Geometry) -> NDArray[np.float64]:
    """Positions of the eight corner voxels, shape (8, 3)."""
    indices = np.array([[*index, 1] for index in product(*((0, n - 1) for n in geometry.shape))])
    return np.asarray((indices @ geometry.display_affine.T)[:, :3])
