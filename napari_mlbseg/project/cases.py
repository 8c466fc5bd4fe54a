"""What a study knows about its cases and classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.volume import Geometry, Volume

MAX_CLASS = 254
"""Largest class value; 0 is the background and 255 stays free for "no label"."""


@dataclass(frozen=True)
class LabelClass:
    """A class that a person can paint; the background, 0, is implicit and never listed."""

    value: int
    name: str
    color: tuple[int, int, int]

    def __post_init__(self) -> None:
        if not 1 <= self.value <= MAX_CLASS:
            raise UserError(f"A class has a value from 1 to {MAX_CLASS}, but got {self.value}.")
        if not self.name.strip():
            raise UserError(f"Class {self.value} has no name. Give it one.")
        if len(self.color) != 3 or not all(0 <= part <= 255 for part in self.color):
            raise UserError(
                f"The colour of class {self.value} must be red, green and blue from 0 to 255, "
                f"but got {self.color}."
            )


@dataclass(frozen=True)
class Intensity:
    """How bright an image is, over its finite voxels.

    Attributes
    ----------
    low, high
        The 0.5 and 99.5 percentiles; the extremes where these are the same.
    mean, std
        Of the voxels clipped to [low, high]; `std` is always positive, 1 for a constant image.
    """

    low: float
    high: float
    mean: float
    std: float

    @classmethod
    def of(cls, voxels: NDArray[Any]) -> "Intensity":
        """Measure an image; raises UserError where not one voxel is finite."""
        finite = voxels[np.isfinite(voxels)] if voxels.dtype.kind == "f" else voxels.ravel()
        if finite.size == 0:
            raise UserError("The image has no finite voxel. Check how it was made.")
        low, high = (float(v) for v in np.percentile(finite, (0.5, 99.5)))
        if low == high:  # almost all is background: percentiles would clip the rest away
            low, high = float(finite.min()), float(finite.max())
        # In pieces, because the float64 copies of a whole CT would need gigabytes.
        total = squares = 0.0
        for start in range(0, finite.size, 1 << 22):
            piece = np.clip(finite[start : start + (1 << 22)].astype(np.float64), low, high) - low
            total += float(piece.sum())
            squares += float(np.square(piece).sum())
        mean = total / finite.size
        std = float(np.sqrt(max(0.0, squares / finite.size - mean**2)))
        return cls(low, high, low + mean, std if std > 0 else 1.0)


@dataclass(frozen=True)
class Case:
    """One image of a study; `axis` is the display axis along which its slices are annotated."""

    id: str
    image_path: Path
    labels_path: Path | None
    source: SourceInfo
    geometry: Geometry
    intensity: Intensity
    axis: int

    def slice_shape(self, axis: int) -> tuple[int, int]:
        """Shape of a slice: the remaining display axes in their order."""
        first, second = (n for k, n in enumerate(self.geometry.shape) if k != axis)
        return first, second


@dataclass(frozen=True)
class NewCase:
    """What an importer hands over for one case.

    `labels`, if given, are integers from 0 to 254 (z y x) of the image's shape.
    """

    id: str
    image_path: Path
    image: Volume
    source: SourceInfo
    labels_path: Path | None = None
    labels: Volume | None = None

    def __post_init__(self) -> None:
        if self.id in {"", ".", ".."} or any(c in self.id for c in "/\\\0"):
            raise UserError(f"{self.id!r} cannot be the name of a case. Rename {self.image_path}.")
        if (self.labels is None) != (self.labels_path is None):
            raise ValueError("labels and the path of their file come together")
        if self.labels is not None:
            check_labels(self.labels, self.image.geometry, self.labels_path)


def check_labels(labels: Volume, geometry: Geometry, path: Path | None) -> None:
    """Raise UserError unless labels fit an image's shape and hold classes only."""
    if labels.geometry.shape != geometry.shape:
        raise UserError(
            f"{path} has the shape {labels.geometry.shape} (z y x), but its image has "
            f"{geometry.shape}. Bring the labels onto the grid of the image first."
        )
    if labels.voxels.dtype.kind not in "biu":
        raise ValueError(f"labels are integers, got {labels.voxels.dtype}")
    low, high = int(labels.voxels.min()), int(labels.voxels.max())
    if low < 0 or high > MAX_CLASS:
        raise UserError(
            f"{path} holds the values {low} to {high}, but classes run from 0 to {MAX_CLASS}. "
            "Renumber its labels."
        )
