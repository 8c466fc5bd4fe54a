"""Repairs a study: from its backups, from earlier revisions, and from the files it came from."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from napari_mlbseg.errors import Damaged, UserError
from napari_mlbseg.project.arrays.adding import rebuild_arrays
from napari_mlbseg.project.arrays.copying import images_of
from napari_mlbseg.project.arrays.store import CHANNELS, ArrayName
from napari_mlbseg.project.catalogue.backups import BACKUPS_NAME, backups_in
from napari_mlbseg.project.catalogue.complaints import explained
from napari_mlbseg.project.catalogue.counter import COUNTER_NAME
from napari_mlbseg.project.catalogue.salvage import salvage
from napari_mlbseg.project.folder.durable import flush, flush_entries, flush_file, make_folder
from napari_mlbseg.project.folder.inside import plain_folders, size_of
from napari_mlbseg.project.folder.lock import WriterLock, current_user
from napari_mlbseg.project.folder.place import Place
from napari_mlbseg.project.records.cases import Case
from napari_mlbseg.project.records.progress import Progress, silent
from napari_mlbseg.project.repairing.verify import checkpoints_in, expected, is_readable
from napari_mlbseg.project.study import CATALOGUE_NAME, Study

_LOG_ENDS = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Repaired:
    """What was done, in sentences, and what could not be done."""

    done: tuple[str, ...]
    left: tuple[str, ...]


def repair(path: Path, progress: Progress = silent) -> Repaired:
    """Repair what `verify` finds; a sound study stays as it is.

    The files of a damaged catalogue are kept in the study's folder of backups.

    Raises
    ------
    UserError
        If there is no study, if somebody else has it open, or if its cases can be read nowhere.

    Examples
    --------
    >>> from napari_mlbseg.api import import_folder
    >>> with Study.create(Path("heart.mlbseg")) as study:
    ...     imported = import_folder(study, Path("images"), Path("rough"))
    >>> shutil.rmtree("heart.mlbseg/arrays/phantom_01/image.zarr")
    >>> repair(Path("heart.mlbseg")).done
    ('The image of phantom_01: made again from the files.',)
    """
    path = path.absolute()
    done = _repair_catalogue(path)
    with Study.open(path) as study:
        left: list[str] = []
        for number, case in enumerate(study.cases):
            progress(f"Reading {case.name}", number, len(study.cases))
            done += _repair_arrays(study, case, left)
        done += _remove_damaged_checkpoints(path)
    return Repaired(tuple(done), tuple(left))


def _repair_catalogue(path: Path) -> list[str]:
    if not _is_damaged(path):
        return []
    place = Place(path)
    lock = WriterLock(place)
    lock.acquire()
    try:
        catalogue, new = path / CATALOGUE_NAME, path / f"{CATALOGUE_NAME}.new"
        kept = _kept_aside(path)
        folders = sorted(plain_folders(path / BACKUPS_NAME), reverse=True)
        found = [folder / CATALOGUE_NAME for folder in folders]
        earlier = [file for file in found if size_of(file, path) is not None]
        sources = [*earlier, *reversed(backups_in(path))]
        try:
            with explained(new):
                said = salvage(sources, new, author=current_user())
            flush_file(new)
            _remove_logs(catalogue)  # they belong to the damaged file, of which there is a copy
            new.replace(catalogue)
        finally:
            new.unlink(missing_ok=True)
            _remove_logs(new)
        (path / COUNTER_NAME).unlink(missing_ok=True)  # what is missing now stays missing
        flush_entries(path)
    finally:
        lock.release()
    return [*said.told, f"The catalogue was made again; the damaged one is kept in {kept}."]


def _remove_logs(catalogue: Path) -> None:
    for end in _LOG_ENDS:
        catalogue.with_name(catalogue.name + end).unlink(missing_ok=True)


def _is_damaged(path: Path) -> bool:
    try:
        with Study.open(path, writable=False) as study:
            return bool(study.check().flaws)
    except Damaged:
        return True


def _kept_aside(path: Path) -> Path:
    """Copy the files of the catalogue as they are."""
    kept = path / BACKUPS_NAME / f"damaged-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    make_folder(kept)
    for name in (CATALOGUE_NAME, *(f"{CATALOGUE_NAME}{end}" for end in _LOG_ENDS), COUNTER_NAME):
        if (path / name).is_file() and not name.endswith("-shm"):
            shutil.copyfile(path / name, kept / name)
    flush(kept)
    flush_entries(kept.parent)
    return kept


def _repair_arrays(study: Study, case: Case, left: list[str]) -> Iterator[str]:
    flawed = [
        name
        for name in ArrayName
        if (expected(case, name) or study.arrays.exists(case.id, name))
        and study.arrays.flaw(case.id, name) is not None
    ]
    needed = [name for name in flawed if expected(case, name)]
    for name in (name for name in flawed if name not in needed):
        study.arrays.remove(case.id, name)
        yield f"The {_words(name)} of {case.name}: removed; the next training makes it again."
    words = " and ".join(_words_of(case, name) for name in needed)
    try:
        if needed:
            rebuild_arrays([case], study.arrays)
            yield f"The {words} of {case.name}: made again from the files."
    except UserError as error:
        left.append(f"The {words} of {case.name}: {error}")


def _words_of(case: Case, name: ArrayName) -> str:
    """An array of a case in words; a further channel by its name."""
    if name is not ArrayName.IMAGE and name in images_of(case):
        return f"channel {case.channels[CHANNELS.index(name)].name}"
    return _words(name)


def _words(name: ArrayName) -> str:
    return name.value.replace("_", " ")


def _remove_damaged_checkpoints(path: Path) -> Iterator[str]:
    for checkpoint in checkpoints_in(path):
        if not is_readable(checkpoint):
            checkpoint.unlink()
            yield f"The checkpoint {checkpoint.name}: removed."
