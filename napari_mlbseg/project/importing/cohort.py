"""Import of a cohort: good files become cases; the others are listed with the reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.registry import Choice, stem_of
from napari_mlbseg.project.importing.case_files import FOUND_OUT, CaseFiles, Pairing
from napari_mlbseg.project.importing.classes import named
from napari_mlbseg.project.importing.failures import Failure, shortened
from napari_mlbseg.project.importing.gathering import ALL_SERIES, Gathering
from napari_mlbseg.project.importing.layout import find_cases
from napari_mlbseg.project.importing.rules import NO_RULES, Rules
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.study import Study

__all__ = [
    "ALL_SERIES",
    "Imported",
    "import_cases",
    "import_folder",
    "import_images",
    "make_study",
]

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
    pairing: Pairing = FOUND_OUT,
    choice: Choice | None = None,
    choices: Mapping[Path, Sequence[Choice]] | None = None,
    progress: Progress | None = None,
    rules: Rules = NO_RULES,
    author: str | None = None,
) -> tuple[Study, Imported]:
    """Make a study from folders; returns it, open for writing, and the outcome of the import.

    After an error nothing is left behind.

    Parameters
    ----------
    path
        Folder NAME.mlbseg to make; it must not exist.
    images, labels, pairing, choice, choices
        See `import_folder`.
    classes
        Comma-separated names for the label values 1, 2, ...; None takes the classes of the label
        files, or a single class named ``class 1`` if there are none.
    rules
        What is said of the classes.
    author
        Who makes it; the user of the account by default.

    Examples
    --------
    >>> study, imported = make_study(
    ...     Path("heart.mlbseg"), Path("images"), Path("rough"), "organ, lesion"
    ... )
    >>> [case.id for case in study.cases], [found.name for found in study.classes]
    (['phantom_01', 'phantom_02'], ['organ', 'lesion'])
    >>> study.close()
    """
    study = Study.create(path, author=author)
    try:
        if classes is not None:
            study.set_classes(rules.applied(named(classes)))
        imported = import_folder(
            study,
            images,
            labels,
            pairing=pairing,
            choice=choice,
            choices=choices,
            progress=progress,
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
    pairing: Pairing = FOUND_OUT,
    choice: Choice | None = None,
    choices: Mapping[Path, Sequence[Choice]] | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Add the images of a folder to a study, with initial labels from another folder.

    `find_cases` tells images from labels and which labels belong to which image; `pairing` says
    what is known about that. Images without labels become cases without labels; those that are
    cases of the study already stay as they are, with a note. For files that hold both, such as HDF5
    and OME-Zarr, `labels` is the same folder as `images`. Files that are
    channels of one image become one case. If the study has
    no classes yet, they are made from the values and names in the label files. `choice` says which
    frame and which series to take if there are several, and how labels are read. If `choices` has
    an image's absolute path, the image becomes one case for each choice listed there; with an
    empty list, no case.

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
    layout = find_cases(images, labels, pairing)
    return import_cases(
        study,
        layout.cases,
        choice=choice,
        choices=choices,
        progress=progress,
        failures=layout.failures,
        notes=layout.notes,
        channels=layout.channels,
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
    cases = [CaseFiles(stem_of(image), image, labels_by_id.get(stem_of(image))) for image in images]
    return import_cases(
        study, cases, choice=choice, choices=choices, progress=progress, failures=failures
    )


def import_cases(
    study: Study,
    cases: Sequence[CaseFiles],
    *,
    choice: Choice | None = None,
    choices: Mapping[Path, Sequence[Choice]] | None = None,
    progress: Progress | None = None,
    failures: Sequence[Failure] = (),
    notes: Sequence[Failure] = (),
    channels: Sequence[str] = (),
) -> Imported:
    """Add cases whose files are known, as `find_cases` finds them.

    `failures` and `notes` list what is already known; `channels` are the names of the channels if
    there are several. Raises the same errors as `import_folder`.

    Examples
    --------
    >>> found = find_cases(Path("images"))
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_cases(study, found.cases[:1])
    >>> [case.id for case in imported.cases]
    ['phantom_01']
    """
    gathering = Gathering(
        study, choice or Choice(), choices or {}, progress or silent, tuple(channels)
    )
    try:
        with study.adding() as adding:
            gathered = gathering.gather(cases, adding)
            failures = (*failures, *gathered.failures)
            # Without a new case there are only notes on images that are cases already.
            if not gathered.count and (failures or not gathered.notes):
                raise UserError(_told(failures) or "No image was chosen, so nothing was imported.")
            added = adding.finish(gathered.classes) if gathered.count else ()
    except OSError as error:
        raise UserError(
            f"The images cannot be stored in {study.path}: {error.strerror or error}. The study is "
            "unchanged. Make room, or check that you may write to the folder, then try again."
        ) from error
    notes = (*notes, *gathered.notes, *_perhaps_a_stack(added))
    return Imported(added, tuple(failures), notes)


def _perhaps_a_stack(cases: Sequence[Case]) -> Iterator[Failure]:
    """Say so where every image of several is a single slice: they may be those of one volume."""
    if len(cases) > 1 and all(1 in case.geometry.shape for case in cases):
        first = cases[0].image_path
        yield Failure(
            first,
            f"The images are single slices, and each of the {len(cases)} became a case of its own: "
            f"{shortened(case.name for case in cases)}. If they are slices of one volume, save "
            "them as one file (a TIFF stack, for example), and import that.",
        )


def _told(failures: Sequence[Failure]) -> str:
    more = len(failures) - _PROBLEMS_SHOWN
    rest = [f"{more} more files have problems."] if more > 0 else []
    return "\n".join([failure.reason for failure in failures[:_PROBLEMS_SHOWN]] + rest)
