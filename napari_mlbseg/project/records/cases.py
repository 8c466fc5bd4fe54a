"""Cases and classes of a study."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import SourceInfo
from napari_mlbseg.project.folder.inside import is_case_id, require_case_id
from napari_mlbseg.project.records.channels import ONE_CHANNEL, Channel, ChannelImage, NewChannel
from napari_mlbseg.project.records.intensity import Intensity
from napari_mlbseg.volume import Geometry, Volume, VoxelSource

MAX_CLASS = 254
"""Largest class value; 0 is the background and 255 stays free for "no label"."""

LONGEST_NAME: Final = 150
"""Most bytes (UTF-8) in the name of a new case: exports add up to 80, and disks take 255."""


@dataclass(frozen=True)
class LabelClass:
    """A class that the user can paint; the background, 0, is implicit and never listed.

    Attributes
    ----------
    value, name, color
        The label value, from 1 to 254; the name; red, green and blue from 0 to 255.
    most_pieces
        How many pieces the structure has at most in a case; None for any number.
    no_holes
        Whether background that the structure encloses in 3-D belongs to it.

    Examples
    --------
    >>> LabelClass(300, "left atrium", (230, 159, 0))
    Traceback (most recent call last):
    napari_mlbseg.errors.UserError: A class has a value from 1 to 254, but got 300.
    """

    value: int
    name: str
    color: tuple[int, int, int]
    most_pieces: int | None = None
    no_holes: bool = False

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
        if self.most_pieces is not None and self.most_pieces < 1:
            raise UserError(
                f"Class {self.value} ({self.name}) has at least one piece, but got "
                f"{self.most_pieces}. Give a number from 1, or none for any number."
            )

    @property
    def is_tidied(self) -> bool:
        """Whether pieces are removed or holes filled."""
        return self.most_pieces is not None or self.no_holes


@dataclass(frozen=True)
class Case:
    """One image of a study.

    Attributes
    ----------
    id
        Identifies the case for ever: its slices and its arrays are kept by it.
    name
        What people call it, and its files after an export; at first the same.
    axis
        The display axis along which its slices are annotated.
    channel
        The name of the first channel, which is the image.
    further
        The other channels, in the order of the study's.
    """

    id: str
    image_path: Path
    labels_path: Path | None
    source: SourceInfo
    geometry: Geometry
    intensity: Intensity
    axis: int
    name: str
    channel: str = ONE_CHANNEL
    further: tuple[Channel, ...] = ()

    def __post_init__(self) -> None:
        require_case_id(self.id)
        require_case_id(self.name)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels, in the order of the study's."""
        image = ChannelImage(self.image_path, self.source, self.intensity)
        return Channel(self.channel, image), *self.further

    def slice_shape(self, axis: int) -> tuple[int, int]:
        """Shape of a slice: the remaining display axes in their order."""
        first, second = (n for k, n in enumerate(self.geometry.shape) if k != axis)
        return first, second

    def sides_mm(self, axis: int) -> tuple[float, float]:
        """The sides of a pixel on slices along an axis, in mm (y x)."""
        first, second = (mm for k, mm in enumerate(self.geometry.spacing_mm) if k != axis)
        return first, second


@dataclass(frozen=True)
class NewCase:
    """The data that an importer provides for one case.

    `labels`, if given, are integers from 0 to 254 (z y x) of the image's shape. Image
    and labels may be files that are read while the case is stored. `channel` names the image where
    there are `further` channels, which lie on its voxels.
    """

    id: str
    image_path: Path
    image: VoxelSource
    source: SourceInfo
    labels_path: Path | None = None
    labels: VoxelSource | None = None
    channel: str = ONE_CHANNEL
    further: tuple[NewChannel, ...] = ()

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The names of all channels, in their order."""
        return self.channel, *(one.name for one in self.further)

    def __post_init__(self) -> None:
        try:
            require_case_name(self.id)
        except UserError as error:
            raise UserError(f"{error} Rename {self.image_path}.") from error
        for path in (self.image_path, self.labels_path, *(one.path for one in self.further)):
            if path is not None:
                require_name(path)
        if (self.labels is None) != (self.labels_path is None):
            raise ValueError("labels and the path of their file must be given together")
        if self.labels is not None:
            check_labels(self.labels, self.image.geometry, self.labels_path)


def require_case_name(name: str) -> None:
    """Raise UserError for what cannot be the name of a new case, and of its files after an export.

    >>> require_case_name("../elsewhere")
    Traceback (most recent call last):
    napari_mlbseg.errors.UserError: '../elsewhere' cannot be the name of a case: ...
    """
    if not is_case_id(name):
        why = "it is empty, or would lead into another folder"
    elif not name.isprintable() or name != name.strip():
        why = "it has characters that cannot be seen, or begins or ends with a space"
    elif len(name.encode(errors="replace")) > LONGEST_NAME:
        why = f"it has more than {LONGEST_NAME} bytes in UTF-8, so that file names become too long"
    else:
        return
    raise UserError(f"{name!r} cannot be the name of a case: {why}.")


def require_name(path: Path) -> None:
    """Raise UserError for a path that no text can hold: on Linux, a name is any bytes."""
    readable = os.fsencode(path).decode(errors="replace")
    if readable != str(path):
        raise UserError(
            f"{readable} has a name with bytes that are no UTF-8, shown as \ufffd. Rename the file "
            "or folder, then import it again."
        )


def has_imported_labels(cases: Iterable[Case]) -> bool:
    """Whether any of the cases came with labels."""
    return any(case.labels_path is not None for case in cases)


def check_labels(labels: VoxelSource, geometry: Geometry, path: Path | None) -> None:
    """Raise UserError unless labels fit an image's shape and hold only classes.

    The values of a file are checked when they are read, see `ClassesOnly`.
    """
    if labels.geometry.shape != geometry.shape:
        raise UserError(
            f"{path} has the shape {labels.geometry.shape} (z y x), but its image has "
            f"{geometry.shape}. Bring the labels onto the grid of the image first."
        )
    if labels.dtype.kind not in "biu":
        raise ValueError(f"labels are integers, got {labels.dtype}")
    if isinstance(labels, Volume):
        _require_classes(labels.voxels, path)


@dataclass(frozen=True)
class ClassesOnly:
    """Labels that raise UserError while they are read if a value is not a class."""

    labels: VoxelSource
    path: Path | None

    @property
    def geometry(self) -> Geometry:
        """Where the labels lie."""
        return self.labels.geometry

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        return self.labels.dtype

    def slabs(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """The labels slab by slab, see `VoxelSource`."""
        for axis, start, slab in self.labels.slabs():
            _require_classes(slab, self.path)
            yield axis, start, slab


def _require_classes(voxels: NDArray[Any], path: Path | None) -> None:
    low, high = int(voxels.min()), int(voxels.max())
    if low < 0 or high > MAX_CLASS:
        raise UserError(
            f"{path} holds the values {low} to {high}, but classes run from 0 to {MAX_CLASS}. "
            "Renumber its labels."
        )
