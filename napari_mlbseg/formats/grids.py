"""Bringing labels onto the grid of their image, in whatever order their files store the axes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.formats.apart import distance_mm, not_on_grid
from napari_mlbseg.formats.limits import times
from napari_mlbseg.formats.registry import forms_of, stores_last_axis_fastest
from napari_mlbseg.formats.scan import Scan, filled
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.volume import Geometry, Placed

_WRITTEN_ALIKE: Final = 2e-3
"""How far apart, in voxels, two headers may place a voxel without a word: they round."""


def on_grid_of(
    labels: Scan,
    image: Geometry,
    labels_path: Path,
    image_path: Path,
    source: SourceInfo | None = None,
    *,
    what: str = "labels",
) -> Scan:
    """The labels in the display order of the image.

    Their file may store the axes in another order or direction; only positions count, to a tenth
    of a voxel. Headers that place their voxels in several ways may agree in any of these, a file
    that says nothing about its voxels lies on an image of the same shape, and labels of a format
    that crops them are filled up with background. Notes tell each of these.

    Parameters
    ----------
    source
        What is kept of the image's file: its header may place the voxels in other ways, too.
    what
        What is brought onto the grid, in words; a channel of the image lies on it as labels do.

    Raises
    ------
    UserError
        If the labels do not lie on the voxels of the image; the message names both files.
    """
    if labels.onto is not None:
        return labels.onto(image)
    found = []
    for placed, note in _places(labels, image, labels_path, image_path, source):
        if placed.geometry.shape == image.shape:
            return _noted(replace(labels, geometry=placed.geometry), note)
        found.append((placed, note))
    side_by_side = _by_index(labels, image, source)
    if side_by_side is not None:
        silent = labels_path if not _is_calibrated(labels.source, labels.geometry) else image_path
        note = (
            f"{silent} does not say how large its voxels are; {labels_path} and {image_path} both "
            f"have {times(labels.geometry.file_shape)}, so they are taken to lie on each other."
        )
        return _noted(replace(labels, geometry=side_by_side), note)
    if found and labels.partial:
        placed, note = found[0]
        part = (
            f"{labels_path} covers only {times(placed.geometry.shape)} of the {times(image.shape)} "
            "voxels (z y x) of its image; the rest is taken to be background."
        )
        return _noted(filled(labels, placed, image), note, part)
    raise not_on_grid(labels_path, labels.geometry, image, image_path, what)


def _places(
    labels: Scan,
    image: Geometry,
    labels_path: Path,
    image_path: Path,
    source: SourceInfo | None,
) -> Iterator[tuple[Placed, str]]:
    """Where the labels lie in the image, and a note: as both files are read, then in other ways."""
    placed = labels.geometry.placed_in(image)
    if placed is not None:
        yield placed, _rounding(placed, labels_path, image_path)
    for form in _forms(labels.source, labels.geometry):
        theirs = Geometry.from_affine(labels.geometry.file_shape, form)
        if (placed := theirs.placed_in(image)) is not None:
            apart = distance_mm(theirs, labels.geometry)
            yield placed, _in_another_way(labels_path, apart, labels_path, image_path)
    for form in _forms(source, image):
        # The same voxels placed in another way, shown in the same order.
        ours = replace(image, affine=tuple(tuple(float(v) for v in row) for row in form))
        if (placed := labels.geometry.placed_in(ours)) is not None:
            apart = distance_mm(ours, image)
            yield placed, _in_another_way(image_path, apart, labels_path, image_path)


def _forms(source: SourceInfo | None, geometry: Geometry) -> tuple[NDArray[np.float64], ...]:
    return () if source is None else forms_of(source, geometry).others


def _by_index(labels: Scan, image: Geometry, source: SourceInfo | None) -> Geometry | None:
    """The labels on the image index by index, if one of the files says nothing about its voxels."""
    if source is None:
        return None
    theirs = labels.source
    if _is_calibrated(source, image) and _is_calibrated(theirs, labels.geometry):
        return None
    orders = [image, image.transposed()]
    if stores_last_axis_fastest(source) != stores_last_axis_fastest(theirs):
        orders.reverse()
    return next((g for g in orders if g.file_shape == labels.geometry.file_shape), None)


def _in_another_way(ambiguous: Path, apart: float, labels: Path, image: Path) -> str:
    return (
        f"The header of {ambiguous} places its voxels in several ways, up to {apart:.3g} mm apart; "
        f"by one of them {labels} lies on {image}, voxel by voxel."
    )


def _is_calibrated(source: SourceInfo, geometry: Geometry) -> bool:
    return forms_of(source, geometry).calibrated


def _rounding(placed: Placed, labels_path: Path, image_path: Path) -> str:
    if placed.apart <= _WRITTEN_ALIKE:
        return ""
    return (
        f"{labels_path} and its image {image_path} were written up to {placed.apart:.2g} voxels "
        "apart, as if one of them was rounded; they are taken to lie on each other."
    )


def _noted(labels: Scan, *notes: str) -> Scan:
    return replace(labels, notes=(*labels.notes, *(note for note in notes if note)))
