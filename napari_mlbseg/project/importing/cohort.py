"""Import of a cohort: good files become cases; the others are listed with the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import Choice, has_own_labels, stem_of
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.gathering import ALL_SERIES, Gathering
from napari_mlbseg.project.importing.pairing import (
    Failure,
    files_in,
    pair,
    shortened,
    without_twins,
)
from napari_mlbseg.project.importing.rules import NO_RULES, Rules
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.study import Study

__all__ = ["ALL_SERIES", "Imported", "import_folder", "import_images", "make_study"]

_PROBLEMS_SHOWN: Final = 5


@dataclass(frozen=True)
class Imported:
    """The outcome of an import.

    Attributes
    ----------
    cases
        The imported cases.
    failures
        Files that could not be imported, each with the reason.
    notes
        Unusual things about imported files.
    """

    cases: tuple[Case, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[Failure, ...] = ()

    @property
    def summary(self) -> str:
        """The failures in a few lines; empty if there are none."""
        return _told(self.failures)


def make_study(
    path: Path,
    images: Path,
    labels: Path | None = None,
    classes: str | None = None,
    *,
    choice: Choice | None = None,
    choices: Mapping[Path, Sequence[Choice]] | None = None,
    progress: Progress | None = None,
    rules: Rules = NO_RULES,
) -> tuple[Study, Imported]:
    """Make a study from folders; returns it, open for writing, and the outcome of the import.

    After an error nothing is left behind.

    Parameters
    ----------
    path
        Folder NAME.mlbseg to make; it must not exist.
    images, labels, choice, choices
        See `import_folder`.
    classes
        Comma-separated names for the label values 1, 2, ...; None takes the classes of the label
        files, or a single class named ``class 1`` if there are none.
    rules
        What is said of the classes.

    Examples
    --------
    >>> study, imported = make_study(
    ...     Path("heart.mlbseg"), Path("images"), Path("rough"), "organ, lesion"
    ... )
    >>> [case.id for case in study.cases], [found.name for found in study.classes]
    (['phantom_01', 'phantom_02'], ['organ', 'lesion'])
    >>> study.close()
    """
    study = Study.create(path)
    try:
        if classes is not None:
            study.set_classes(rules.applied(named(classes)))
        imported = import_folder(
            study, images, labels, choice=choice, choices=choices, progress=progress
        )
        if not study.classes:
            study.set_classes(named("class 1"))
        if classes is None and rules != NO_RULES:
            study.set_classes(rules.applied(study.classes))
    except BaseException:
        study.discard()
        raise
    return study, imported


def import_folder(
    study: Study,
    images: Path,
    labels: Path | None = None,
    *,
    choice: Choice | None = None,
    choices: Mapping[Path, Sequence[Choice]] | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Add the images of a folder to a study, with initial labels from another folder.

    `pairing.files_in` tells which entries are images, `pairing.pair` which labels belong to them.
    If `labels` is given, every image needs labels. For files that hold both, such as HDF5 and
    OME-Zarr, `labels` is the same folder as `images`. If the study has no classes yet, they are
    made from the values (and names) in the label files. `choice` says which frame and which series
    to take if there are several. If `choices` has an image's absolute path, the image becomes one
    case for each choice listed there; with an empty list, no case.

    Raises
    ------
    UserError
        If a folder cannot be used or no image could be imported; the study is unchanged.

    Examples
    --------
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"), Path("rough"))
    >>> [case.id for case in imported.cases], imported.failures
    (['phantom_01', 'phantom_02'], ())
    """
    found, failures = without_twins(files_in(images))
    pairs: Mapping[str, Path] = {}
    if labels is not None and labels.resolve() == images.resolve():
        _require_own_labels(images, found)
        pairs = {stem_of(image): image for image in found}
    elif labels is not None:
        pairs, alone = pair(found, files_in(labels, labels=True))
        failures += alone
        found = [image for image in found if stem_of(image) in pairs]
    return import_images(
        study,
        found,
        pairs,
        choice=choice,
        choices=choices,
        progress=progress,
        failures=failures,
    )


def import_images(
    study: Study,
    images: Sequence[Path],
    labels_by_id: Mapping[str, Path],
    *,
    choice: Choice | None = None,
    choices: Mapping[Path, Sequence[Choice]] | None = None,
    progress: Progress | None = None,
    failures: Sequence[Failure] = (),
) -> Imported:
    """Add images, with initial labels if `labels_by_id` has the image's name without its suffix.

    Each file is read once, slab by slab. `failures` lists failures that are already known. Raises
    the same errors as `import_folder`.

    Examples
    --------
    >>> images = [Path("images/phantom_01.nii.gz"), Path("images/phantom_02.nii.gz")]
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_images(study, images, {"phantom_02": Path("rough/phantom_02.nii.gz")})
    >>> [case.labels_path is None for case in imported.cases]
    [True, False]
    """
    strangers = sorted(set(labels_by_id) - {stem_of(image) for image in images})
    if strangers:
        raise UserError(f"There are labels but no images for {shortened(strangers)}.")
    gathering = Gathering(
        study, labels_by_id, choice or Choice(), choices or {}, progress or silent
    )
    try:
        with study.adding() as adding:
            gathered = gathering.gather(images, adding)
            failures = (*failures, *gathered.failures)
            if not gathered.count:
                raise UserError(_told(failures))
            cases = adding.finish(gathered.classes)
    except OSError as error:
        raise UserError(
            f"The images cannot be stored in {study.path}: {error.strerror or error}. The study is "
            "unchanged. Make room, or check that you may write to the folder, then try again."
        ) from error
    return Imported(cases, tuple(failures), gathered.notes)


def _require_own_labels(folder: Path, images: Sequence[Path]) -> None:
    if not all(has_own_labels(image) for image in images):
        raise UserError(
            f"{folder} was given for both images and labels. Put the labels into a folder of "
            "their own."
        )


def _told(failures: Sequence[Failure]) -> str:
    more = len(failures) - _PROBLEMS_SHOWN
    rest = [f"{more} more files have problems."] if more > 0 else []
    return "\n".join([failure.reason for failure in failures[:_PROBLEMS_SHOWN]] + rest)
