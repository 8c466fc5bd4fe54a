"""Import of a cohort: everything is checked first, then all of it comes in, or nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import read_image, read_labels, stem_of
from napari_mlbseg.project.cases import Case, LabelClass, NewCase, check_labels
from napari_mlbseg.project.pairing import files_in, pair, require_unique, shortened
from napari_mlbseg.project.palette import color_of
from napari_mlbseg.project.study import Study
from napari_mlbseg.volume import Geometry, Volume

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done, and how many there are."""

_VOXEL_SHARE: Final = 1e-3
"""How far apart, in voxels, the corners of an image and of its labels may lie."""

_PROBLEMS_SHOWN: Final = 5


def import_folder(
    study: Study, images: Path, labels: Path | None = None, *, progress: Progress | None = None
) -> tuple[Case, ...]:
    """Add every image of a folder to a study, with initial labels from another folder.

    Labels are found by name, see `pairing.pair`; with a folder of labels every image needs one.
    Where the study has no classes yet, they are made from the values in the label files.

    Raises
    ------
    UserError
        If anything is wrong with any file; the message names it and the study is as it was.
    """
    image_paths = files_in(images)
    require_unique(image_paths)
    if labels is None:
        return import_images(study, image_paths, {}, progress=progress)
    if labels.resolve() == images.resolve():
        raise UserError(
            f"Images and labels are both looked for in {images}. Put the labels into a folder of "
            "their own."
        )
    pairs = pair(image_paths, files_in(labels))
    return import_images(study, image_paths, pairs, progress=progress)


def import_images(
    study: Study,
    images: Sequence[Path],
    labels_by_id: Mapping[str, Path],
    *,
    progress: Progress | None = None,
) -> tuple[Case, ...]:
    """Add images, with initial labels where `labels_by_id` has the image's name without suffix.

    Files are read twice, once to check them and once to keep them, so that memory holds one
    case at a time however large the cohort is. Raises as `import_folder` does.
    """
    report = progress or _silent
    require_unique(images)
    _require_new(study, images)
    strangers = sorted(set(labels_by_id) - {stem_of(image) for image in images})
    if strangers:
        raise UserError(f"There are labels but no images for {shortened(strangers)}.")
    pairs = [(image.absolute(), labels_by_id.get(stem_of(image))) for image in images]
    before = study.classes
    values = _checked_values(study, pairs, report)
    classes = before or _classes_of(values)
    try:
        return study.add_cases(_new_cases(study, pairs, classes, report))
    except BaseException as error:
        if study.classes != before:
            study.set_classes(before)
        if isinstance(error, OSError):
            raise UserError(
                f"The images cannot be kept in {study.path}: {error.strerror or error}. The study "
                "is as it was. Make room or check that the folder may be written, then try again."
            ) from error
        raise


# --- before anything is written -------------------------------------------------------------------


def _checked_values(
    study: Study, pairs: Sequence[tuple[Path, Path | None]], report: Progress
) -> set[int]:
    """The values in all label files; raises UserError with every problem that was found."""
    known = {c.value for c in study.classes}
    values: set[int] = set()
    problems: list[str] = []
    for done, (image, labels) in enumerate(pairs):
        report(f"Checking {image.name}", done, 2 * len(pairs))
        try:
            found = _values_of(image, labels)
            if known and found - known:
                raise UserError(_unknown(labels, found - known, study.classes))
            values |= found
        except UserError as error:
            problems.append(str(error))
    if problems:
        more = len(problems) - _PROBLEMS_SHOWN
        rest = [f"{more} more files have problems."] if more > 0 else []
        raise UserError("\n".join(problems[:_PROBLEMS_SHOWN] + rest))
    return values


def _values_of(image: Path, labels: Path | None) -> set[int]:
    """The class values in a label file, empty without one; the background is left out."""
    geometry = read_image(image)[0].geometry
    if labels is None:
        return set()
    if labels.resolve() == image.resolve():
        raise UserError(f"{image} is given as an image and as its own labels.")
    volume, _ = read_labels(labels)
    _require_same_grid(image, geometry, labels, volume.geometry)
    check_labels(volume, geometry, labels)
    return {int(value) for slab in volume.voxels for value in np.unique(slab)} - {0}


def _require_same_grid(image: Path, ours: Geometry, labels: Path, theirs: Geometry) -> None:
    if ours.file_shape != theirs.file_shape:
        raise UserError(
            f"{labels} has {theirs.file_shape} voxels, but its image {image} has "
            f"{ours.file_shape}. Resample the labels onto the grid of the image."
        )
    apart = np.linalg.norm(_corners_mm(ours) - _corners_mm(theirs), axis=0).max()
    if apart > _VOXEL_SHARE * min(ours.spacing_mm):
        raise UserError(
            f"{labels} lies elsewhere than its image {image}: corners are up to {apart:.4g} mm "
            "apart. Resample the labels onto the grid of the image, or correct the header that "
            "is wrong."
        )


def _corners_mm(geometry: Geometry) -> NDArray[np.float64]:
    """Positions of the eight corner voxels, shape (4, 8)."""
    indices = list(product(*((0, n - 1) for n in geometry.file_shape)))
    homogeneous: NDArray[Any] = np.array([[*index, 1] for index in indices], dtype=np.float64)
    return np.asarray(np.array(geometry.affine) @ homogeneous.T)


def _require_new(study: Study, images: Sequence[Path]) -> None:
    known = {case.id.casefold() for case in study.cases}
    again = [stem_of(image) for image in images if stem_of(image).casefold() in known]
    if again:
        raise UserError(
            f"{len(again)} images are in the study already: {shortened(again)}. Import only new "
            "ones, or rename them."
        )


def _unknown(labels: Path | None, values: set[int], classes: Sequence[LabelClass]) -> str:
    found = shortened(str(value) for value in sorted(values))
    known = shortened(f"{c.value} ({c.name})" for c in classes)
    return (
        f"{labels} holds unknown labels: {found}. The classes of the study are {known}. Add the "
        "missing classes to the study, or renumber the labels."
    )


def _classes_of(values: set[int]) -> tuple[LabelClass, ...]:
    return tuple(LabelClass(value, f"class {value}", color_of(value)) for value in sorted(values))


# --- the import itself ----------------------------------------------------------------------------


def _new_cases(
    study: Study,
    pairs: Sequence[tuple[Path, Path | None]],
    classes: tuple[LabelClass, ...],
    report: Progress,
) -> Iterator[NewCase]:
    """One case after the other; the classes follow last, when everything else has succeeded."""
    for done, (image, labels) in enumerate(pairs, start=len(pairs)):
        report(f"Importing {image.name}", done, 2 * len(pairs))
        volume, source = read_image(image)
        label_volume: Volume | None = None if labels is None else read_labels(labels)[0]
        labels_path = None if labels is None else labels.absolute()
        yield NewCase(stem_of(image), image, volume, source, labels_path, label_volume)
    report("Imported", 2 * len(pairs), 2 * len(pairs))
    if classes != study.classes:
        study.set_classes(classes)


def _silent(what: str, done: int, total: int) -> None:
    """Nobody wants to know."""
