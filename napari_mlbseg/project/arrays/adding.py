"""Turns source files into cases, and rebuilds their arrays if they were deleted."""

import math
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.source import SourceInfo, padding_of
from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName, ArrayStore
from napari_mlbseg.project.catalogue.amendments import OF_A_NAMESAKE
from napari_mlbseg.project.catalogue.catalogue import Catalogue
from napari_mlbseg.project.folder.inside import spelled
from napari_mlbseg.project.records.cases import (
    Case,
    ClassesOnly,
    LabelClass,
    NewCase,
)
from napari_mlbseg.project.records.channels import (
    Channel,
    ChannelImage,
    NewChannel,
    require_channel_names,
    require_same_channels,
)
from napari_mlbseg.project.records.intensity import Intensity
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.volume import Volume, VoxelSource

if TYPE_CHECKING:
    import zarr


class Adding(AbstractContextManager["Adding"]):
    """Adds cases to a study in a ``with`` block: all of them at `finish`, or none.

    A block that ends without `finish`, for whatever reason, leaves the study unchanged. If the
    process is killed, invisible arrays remain, which are removed when the study is next opened for
    writing.
    """

    def __init__(self, catalogue: Catalogue, arrays: ArrayStore) -> None:
        arrays.place.require_writable()
        self._catalogue, self._arrays = catalogue, arrays
        self._known = {spelled(case.name) for case in catalogue.cases()}
        # Folders are named after ids, and some file systems ignore case.
        self._ids = set(map(spelled, catalogue.ids()))
        self._stored: list[Case] = []
        # Removed cases count, too: they may be restored.
        self._channels = catalogue.channels.names() if self._ids else None

    def add(self, new: NewCase) -> None:
        """Store the arrays of a case.

        If its files are bad, UserError is raised, nothing of it is left, and others can follow.
        """
        if spelled(new.id) in self._known:
            raise UserError(
                f"{new.image_path} would become a second case {new.id!r}. Rename one of the files."
            )
        if self._channels is None:
            require_channel_names(new.channel_names)
        else:
            require_same_channels(self._channels, new.channel_names, str(new.image_path))
        case_id = free_id(new.id, self._ids)
        with self._arrays.importing(case_id):
            self._stored.append(_stored(new, case_id, self._arrays))
        self._channels = new.channel_names
        self._known.add(spelled(new.id))
        self._ids.add(spelled(case_id))

    def finish(self, classes: Sequence[LabelClass] = ()) -> tuple[Case, ...]:
        """Add the cases to the study, together with `classes` if there are any."""
        added = tuple(self._stored)
        if added:
            self._catalogue.add_cases(added, classes)
        self._stored.clear()
        for case in added:
            self._arrays.imported(case.id)
        return added

    def __exit__(self, *_: object) -> None:
        while self._stored:
            self._arrays.discard(self._stored.pop().id)


def rebuild_arrays(cases: Iterable[Case], arrays: ArrayStore) -> None:
    """Rebuild missing and damaged images and imported labels from their source files."""
    arrays.place.require_writable()
    # Here, so that opening a study does not load every reader.
    from napari_mlbseg.formats.grids import on_grid_of
    from napari_mlbseg.formats.registry import open_image, open_labels

    for case in cases:
        choice = case.source.choice
        for place, channel in enumerate(case.channels):
            file = channel.image
            if file is None or arrays.flaw(case.id, CHANNELS[place]) is None:
                continue
            image = open_image(_present(file.path, case), file.source.choice)
            if place:
                image = on_grid_of(image, case.geometry, file.path, case.image_path, case.source)
            _store_again(image, case, arrays, place)
        if case.labels_path is not None and arrays.flaw(case.id, ArrayName.INITIAL_LABELS):
            found = open_labels(_present(case.labels_path, case), choice)
            labels = on_grid_of(
                found, case.geometry, case.labels_path, case.image_path, case.source
            )
            checked = ClassesOnly(labels, case.labels_path)
            arrays.put(case.id, ArrayName.INITIAL_LABELS, checked, case.axis)


def free_id(name: str, taken: Collection[str]) -> str:
    """An id for a case of this name: the name itself, unless an earlier case has it (`taken`).

    >>> free_id("heart", {"heart", "heart~2"})
    'heart~3'
    """
    numbered = (f"{name}{OF_A_NAMESAKE}{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if spelled(one) not in taken)


def _stored(new: NewCase, case_id: str, arrays: ArrayStore) -> Case:
    """Store the arrays of a case."""
    axis = new.image.geometry.default_axis
    _require_finite(new.image, new.image_path)
    image = arrays.put(case_id, ArrayName.IMAGE, new.image, axis)
    further = tuple(
        _stored_channel(one, name, case_id, arrays, axis)
        for name, one in zip(CHANNELS[1:], new.further, strict=False)
    )
    if new.labels is not None:
        labels = ClassesOnly(new.labels, new.labels_path)
        arrays.put(case_id, ArrayName.INITIAL_LABELS, labels, axis)
    return _case_of(new, case_id, image, axis, further)


def _stored_channel(
    new: NewChannel, name: ArrayName, case_id: str, arrays: ArrayStore, axis: int
) -> Channel:
    """Store the array of a further channel; one that is filled has none."""
    if new.image is None or new.path is None or new.source is None:
        return Channel(new.name)
    _require_finite(new.image, new.path)
    voxels = arrays.put(case_id, name, new.image, axis)
    intensity = _intensity_of(voxels, new.source, new.path)
    return Channel(new.name, ChannelImage(new.path.absolute(), new.source, intensity))


def _require_finite(image: VoxelSource, path: Path) -> None:
    """Refuse an image in memory with NaN, which would break any training.

    Images in files are checked, too.
    """
    if isinstance(image, Volume) and image.dtype.kind == "f":
        bad = sum(int(np.count_nonzero(~np.isfinite(part))) for part in image.voxels)
        if bad:
            raise UserError(
                f"{path} has {bad:,} voxels that are NaN or infinite. Replace them with "
                "a finite value, such as that of the background, and add the case again."
            )


def _present(path: Path, case: Case) -> Path:
    if not path.exists():
        raise UserError(
            f"{path}, the source of {case.name!r}, is missing. Put the file back or connect its "
            "disk, then rebuild again; if it was moved, say where it is (mlbseg relocate)."
        )
    return path


def _intensity_of(voxels: "zarr.Array[Any]", source: SourceInfo, path: Path) -> Intensity:
    try:
        return Intensity.of(voxels, padding_of(source))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _case_of(
    new: NewCase,
    case_id: str,
    voxels: "zarr.Array[Any]",
    axis: int,
    further: tuple[Channel, ...],
) -> Case:
    return Case(
        id=case_id,
        name=new.id,
        image_path=new.image_path.absolute(),
        labels_path=None if new.labels_path is None else new.labels_path.absolute(),
        source=new.source,
        geometry=new.image.geometry,
        intensity=_intensity_of(voxels, new.source, new.image_path),
        axis=axis,
        channel=new.channel,
        further=further,
    )


def require_same_image(image: VoxelSource, case: Case, arrays: ArrayStore, place: int = 0) -> None:
    """Raise UserError if an image is not the one of a case; without its array it is stored.

    `place` is that of its channel. Voxel by voxel, or without an array by its geometry and the
    statistics of its intensities.
    """
    if arrays.flaw(case.id, CHANNELS[place]) is not None:
        _store_again(image, case, arrays, place)
        return
    if not is_same_image(image, case, arrays, place):
        raise _another_image(case, place)


def is_same_image(image: VoxelSource, case: Case, arrays: ArrayStore, place: int = 0) -> bool:
    """Whether an image is the stored one of a channel of a case, voxel by voxel and in its place.

    A further channel lies on the grid of the first to a tenth of a voxel, as labels do.
    """
    voxels = arrays.open(case.id, CHANNELS[place])
    return _is_in_place(image, case, place) and all(
        np.array_equal(slab, np.asarray(voxels[plane(axis, start, start + slab.shape[axis])]))
        for axis, start, slab in image.slabs()
    )


def _is_in_place(image: VoxelSource, case: Case, place: int) -> bool:
    here, there = image.geometry, case.geometry
    return here.shape == there.shape if place else here == there


def _store_again(image: VoxelSource, case: Case, arrays: ArrayStore, place: int) -> None:
    """Store the image of a channel of a case whose array is gone."""
    name, known = CHANNELS[place], case.channels[place].image
    if known is None:
        raise ValueError(f"{case.channels[place].name} of {case.id} has no image")
    arrays.put(case.id, name, image, case.axis)
    # Masks belong to voxels: on another image they would be wrong without any sign of it.
    found = Intensity.of(arrays.open(case.id, name), padding_of(known.source))
    same = _is_in_place(image, case, place) and all(
        math.isclose(now, then, rel_tol=1e-6, abs_tol=1e-6)
        for now, then in zip(astuple(found), astuple(known.intensity), strict=True)
    )
    if not same:
        arrays.remove(case.id, name)
        raise _another_image(case, place)


def _another_image(case: Case, place: int) -> UserError:
    image = case.channels[place].image
    path = case.image_path if image is None else image.path
    return UserError(
        f"{path} is not the image that was imported as {case.name!r}: its geometry or "
        "its intensities differ. Put the original file back, or say where it is now (mlbseg "
        "relocate)."
    )
