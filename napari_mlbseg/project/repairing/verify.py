"""Looks at everything in a study and tells what is not as it was saved; changes nothing."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_mlbseg.errors import Damaged
from napari_mlbseg.project.arrays.copying import images_of
from napari_mlbseg.project.arrays.store import ArrayName
from napari_mlbseg.project.arrays.sweep import CHECKPOINTS_NAME
from napari_mlbseg.project.catalogue.backups import backups_in
from napari_mlbseg.project.catalogue.checking import is_whole
from napari_mlbseg.project.catalogue.sources import opened
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.damage import CatalogueReport
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.study import Study


@dataclass(frozen=True)
class Finding:
    """Something that is damaged: in the catalogue, an array, a checkpoint or a backup."""

    where: str
    what: str


@dataclass(frozen=True)
class Verified:
    """What was looked at, and what was found.

    Attributes
    ----------
    unhashed
        How many of the revisions are from before there were hashes: of them only the form was
        checked.
    free_pages
        Pages of the catalogue that hold nothing.
    """

    findings: tuple[Finding, ...]
    revisions: int = 0
    unhashed: int = 0
    arrays: int = 0
    checkpoints: int = 0
    backups: int = 0
    free_pages: int = 0


def verify(path: Path, progress: Progress = silent) -> Verified:
    """Check a study: the catalogue and its hashes, all arrays, checkpoints and backups.

    Works while somebody annotates the study. Raises UserError if there is no study.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"), Path("rough"))
    >>> verify(Path("heart.mlbseg")).findings
    ()
    """
    report, arrays = CatalogueReport(()), list[str | None]()
    try:
        with Study.open(path, writable=False) as study:
            report = study.check()
            arrays += _arrays(study, progress)
    except Damaged as error:
        report = CatalogueReport((str(error),))
    backups, checkpoints = backups_in(path), checkpoints_in(path)
    own = (Finding("catalogue", what) for what in report.flaws)
    spoilt = (Finding("array", what) for what in arrays if what is not None)
    return Verified(
        (*own, *spoilt, *_damaged_checkpoints(checkpoints), *_damaged_backups(backups)),
        revisions=report.revisions,
        unhashed=report.unhashed,
        arrays=len(arrays),
        checkpoints=len(checkpoints),
        backups=len(backups),
        free_pages=report.free_pages,
    )


def checkpoints_in(path: Path) -> list[Path]:
    """The checkpoints of a study."""
    return sorted((path / CHECKPOINTS_NAME).glob("*.pt"))


def is_readable(checkpoint: Path) -> bool:
    """Whether all parts of a checkpoint are as their checksums say."""
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            return parts.testzip() is None
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, NotImplementedError, EOFError):
        return False


def expected(case: Case, name: ArrayName) -> bool:
    """Whether a case has to have an array: its images, and labels that were imported."""
    imported = name is ArrayName.INITIAL_LABELS and case.labels_path is not None
    return name in images_of(case) or imported


def _arrays(study: Study, progress: Progress) -> Iterator[str | None]:
    """For each array why it cannot be read, or None."""
    cases = study.cases
    for done, case in enumerate(cases):
        progress(f"Reading {case.name}", done, len(cases))
        for name in ArrayName:
            if expected(case, name) or study.arrays.exists(case.id, name):
                yield study.arrays.flaw(case.id, name)


def _damaged_checkpoints(paths: list[Path]) -> Iterator[Finding]:
    for path in paths:
        if not is_readable(path):
            yield Finding("checkpoint", f"{path} is damaged; a training passes it over")


def _damaged_backups(paths: list[Path]) -> Iterator[Finding]:
    for path in paths:
        backup = opened(path)
        if backup is None or not is_whole(backup):
            yield Finding("backup", f"{path} is damaged; an older or a newer one may be sound")
        if backup is not None:
            backup.close()
