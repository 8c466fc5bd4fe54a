"""Telling a study where its files are now, after they were moved."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.grids import on_grid_of
from napari_mlbseg.formats.registry import open_image, open_labels
from napari_mlbseg.formats.scan import Scan
from napari_mlbseg.project.arrays.adding import require_same_image
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.catalogue.amendments import Amendment
from napari_mlbseg.project.importing.case_files import Pairing
from napari_mlbseg.project.importing.failures import Failure
from napari_mlbseg.project.importing.layout import find_cases
from napari_mlbseg.project.importing.relabelling import Changed
from napari_mlbseg.project.records.cases import Case, require_name
from napari_mlbseg.project.records.channels import Channel
from napari_mlbseg.project.records.masks import plane
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.study import Study


@dataclass(frozen=True)
class _Files:
    """Where the files of a case are; None for one that is where it was.

    `further` are those of its further channels, in their order.
    """

    image: Path
    labels: Path | None
    further: tuple[Path | None, ...] = ()


def relocate(
    study: Study,
    folder: Path | None = None,
    *,
    table: Path | None = None,
    progress: Progress = silent,
) -> Changed:
    """Say where the images and the imported labels of a study are now.

    Every voxel is compared with those of the study, so that nothing else takes their place.

    Parameters
    ----------
    folder
        Where the files are, below which they lie as before or have the same names.
    table
        Instead of a folder a CSV file with the columns case, image (or ``image:NAME`` for each
        channel) and labels; labels and further channels may be empty if they are where they were.

    Raises
    ------
    UserError
        If no file could be found, or none is the one that was imported.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"))
    ...     moved = Path("images").rename("elsewhere")
    ...     changed = relocate(study, Path("elsewhere"))
    >>> [case.image_path.parent.name for case in changed.cases]
    ['elsewhere', 'elsewhere']
    """
    study.require_writable()
    given = _from_table(study, table) if table is not None else _found(study, folder or Path())
    was = {case.id: study.changes.amendment(case.id).labels_path for case in study.cases}
    amended: dict[str, Amendment] = {}
    further: dict[str, tuple[Channel, ...]] = {}
    failures: list[Failure] = []
    for done, case in enumerate(study.cases):
        files = given.get(case.id)
        progress(f"Reading {case.name}", done, len(study.cases))
        if isinstance(files, str):
            failures.append(Failure(case.image_path, files))
        if not isinstance(files, _Files):
            continue
        try:
            checked, channels = _checked(study, case, files), _further(study, case, files)
            amended[case.id], further[case.id] = checked, channels
        except UserError as error:
            failures.append(Failure(files.image, str(error)))
    if not amended:
        reasons = "\n".join(failure.reason for failure in failures[:5])
        raise UserError(reasons or "The table lists no case of the study.")
    study.changes.relocate(amended, further)
    changed = tuple(study.case(case_id) for case_id in amended)
    notes = [
        Failure(case.labels_path, f"The labels of {case.name!r} are still at {case.labels_path}.")
        for case in changed
        if case.labels_path is not None and amended[case.id].labels_path == was[case.id]
    ]
    notes += [note for case in changed for note in _stayed(case, given[case.id])]
    return Changed(changed, tuple(failures), tuple(notes))


def _stayed(case: Case, files: _Files | str) -> Iterator[Failure]:
    """A note for each further channel that is still where it was."""
    found = files.further if isinstance(files, _Files) else ()
    for channel, path in zip_longest(case.further, found):
        if path is None and channel.image is not None:
            where = channel.image.path
            yield Failure(
                where, f"The channel {channel.name} of {case.name!r} is still at {where}."
            )


def _checked(study: Study, case: Case, files: _Files) -> Amendment:
    """What becomes of a case whose files are found; UserError if they are not those imported."""
    for path in (files.image, files.labels, *files.further):
        if path is not None:
            require_name(path)
    image = open_image(files.image, case.source.choice)
    if image.source.format != case.source.format:
        raise UserError(
            f"{files.image} is {image.source.format}, but {case.name!r} was imported as "
            f"{case.source.format}. Name the file that it was imported from."
        )
    moved = replace(case, image_path=files.image)
    require_same_image(image, moved, study.arrays)
    if files.labels is not None:
        _require_same_labels(study, moved, files.labels)
    before = study.changes.amendment(case.id)
    labels = before.labels_path if files.labels is None else str(files.labels.absolute())
    same = image.source.header == case.source.header
    return replace(
        before,
        image_path=str(files.image.absolute()),
        labels_path=labels,
        source_header=before.source_header if same else image.source.header,
    )


def _further(study: Study, case: Case, files: _Files) -> tuple[Channel, ...]:
    """The further channels of a case whose files are found; UserError if they are others."""
    found = list(case.further)
    for place, (channel, path) in enumerate(zip(case.further, files.further, strict=False), 1):
        if path is None or channel.image is None:
            continue
        image = open_image(path, channel.image.source.choice)
        file = replace(channel.image, path=path.absolute(), source=image.source)
        found[place - 1] = replace(channel, image=file)
        moved = replace(case, further=tuple(found))
        placed = on_grid_of(image, case.geometry, path, case.image_path, case.source)
        require_same_image(placed, moved, study.arrays, place)
    return tuple(found)


def _require_same_labels(study: Study, case: Case, path: Path) -> None:
    if not study.arrays.has(case.id, ArrayName.INITIAL_LABELS):
        return  # rebuilding says whether they fit
    found = open_labels(path, case.source.choice)
    labels = on_grid_of(found, case.geometry, path, case.image_path, case.source)
    if not _same(labels, study, case):
        raise UserError(
            f"{path} does not hold the labels that were imported for {case.name!r}. Name that file "
            "(to take other labels: mlbseg relabel)."
        )


def _same(labels: Scan, study: Study, case: Case) -> bool:
    stored = study.arrays.open(case.id, ArrayName.INITIAL_LABELS)
    return all(
        np.array_equal(slab, np.asarray(stored[plane(axis, start, start + slab.shape[axis])]))
        for axis, start, slab in labels.slabs()
    )


# --- where files are ------------------------------------------------------------------------------


def _from_table(study: Study, table: Path) -> Mapping[str, _Files | str]:
    found = {}
    for files in find_cases(table, pairing=Pairing(table=table, fill_missing=True)).cases:
        case = study.named(files.id)
        had_labels = case.labels_path is not None
        further = (None if one is None else one.path for one in files.further)
        labels = files.labels if had_labels else None
        found[case.id] = _Files(files.image, labels, tuple(further))
    return found


def _found(study: Study, folder: Path) -> Mapping[str, _Files | str]:
    found: dict[str, _Files | str] = {}
    for case in study.cases:
        image, former = _below(folder, case.image_path), case.labels_path
        labels = None if former is None else _below(folder, former)
        if labels == image and former != case.image_path:
            labels = None  # named alike, and only the images were moved there
        if image is None:
            found[case.id] = (
                f"{case.image_path.name}, the image of {case.name!r}, is not in {folder}, or "
                "several times. Name it in a table (on the command line: --table)."
            )
        else:
            channels = (channel.image for channel in case.further)
            further = (None if one is None else _below(folder, one.path) for one in channels)
            found[case.id] = _Files(image, labels, tuple(further))
    return found


def _below(folder: Path, former: Path) -> Path | None:
    """A file in a folder: at the longest end of its former path, or the only one of its name."""
    for length in range(len(former.parts) - 1, 0, -1):
        candidate = folder.joinpath(*former.parts[-length:])
        if candidate.exists():
            return candidate.absolute()
    named = list(_named(folder, former.name))
    return named[0].absolute() if len(named) == 1 else None


def _named(folder: Path, name: str) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.name == name)
