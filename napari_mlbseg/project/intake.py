"""How source files become cases, and how their arrays come back after they were deleted."""

import math
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

from napari_mlbseg.errors import UserError
from napari_mlbseg.project.arrays import ArrayName, ArrayStore
from napari_mlbseg.project.cases import Case, Intensity, NewCase, check_labels
from napari_mlbseg.project.catalogue import Catalogue
from napari_mlbseg.volume import Volume


def add_cases(
    catalogue: Catalogue, arrays: ArrayStore, new_cases: Iterable[NewCase]
) -> tuple[Case, ...]:
    """Store volumes, then all rows in one transaction; after an error neither is there."""
    # Folders carry these names, and some disks take upper and lower case for the same.
    known = {case.id.casefold() for case in catalogue.cases()}
    added: list[Case] = []
    try:
        for new in new_cases:
            if new.id.casefold() in known:
                raise UserError(
                    f"{new.image_path} would be a second case {new.id!r}. Rename one of the files."
                )
            known.add(new.id.casefold())
            case = _case_of(new)
            added.append(case)
            arrays.put(case.id, ArrayName.IMAGE, new.image.voxels, case.axis)
            if new.labels is not None:
                arrays.put(case.id, ArrayName.INITIAL_LABELS, new.labels.voxels, case.axis)
        catalogue.add_cases(added)
    except BaseException:
        for case in added:
            arrays.discard(case.id)
        raise
    return tuple(added)


def rebuild_arrays(cases: Iterable[Case], arrays: ArrayStore) -> None:
    """Make absent images and imported initial labels again from their source files."""
    # Here, so that opening a study does not load every reader.
    from napari_mlbseg.formats.registry import read_image, read_labels

    for case in cases:
        if not arrays.has(case.id, ArrayName.IMAGE):
            image, _ = read_image(_present(case.image_path, case))
            _check_same_image(image, case)
            arrays.put(case.id, ArrayName.IMAGE, image.voxels, case.axis)
        if case.labels_path is not None and not arrays.has(case.id, ArrayName.INITIAL_LABELS):
            labels, _ = read_labels(_present(case.labels_path, case))
            check_labels(labels, case.geometry, case.labels_path)
            arrays.put(case.id, ArrayName.INITIAL_LABELS, labels.voxels, case.axis)


def _present(path: Path, case: Case) -> Path:
    if not path.exists():
        raise UserError(
            f"{path}, the source of {case.id!r}, is not there. Put the file back or connect its "
            "disk, then rebuild again."
        )
    return path


def _case_of(new: NewCase) -> Case:
    try:
        intensity = Intensity.of(new.image.voxels)
    except UserError as error:
        raise UserError(f"{new.image_path}: {error}") from error
    return Case(
        id=new.id,
        image_path=new.image_path.absolute(),
        labels_path=None if new.labels_path is None else new.labels_path.absolute(),
        source=new.source,
        geometry=new.image.geometry,
        intensity=intensity,
        axis=new.image.geometry.default_axis,
    )


def _check_same_image(image: Volume, case: Case) -> None:
    # Masks belong to voxels: with another image under them they would be wrong without a sign.
    same = image.geometry == case.geometry and all(
        math.isclose(now, then, rel_tol=1e-6, abs_tol=1e-6)
        for now, then in zip(
            astuple(Intensity.of(image.voxels)), astuple(case.intensity), strict=True
        )
    )
    if not same:
        raise UserError(
            f"{case.image_path} is no longer the image that was imported as {case.id!r}: its "
            "geometry or its intensities differ. Put the original file back, then rebuild."
        )
